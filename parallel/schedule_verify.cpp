// Proves lowered programs legal, in three parts: every expected action is there exactly once; on each rank every action comes after what
// it needs; and the transfers, as rendezvous in order, come to an end.
#include <algorithm>
#include <tuple>

#include "parallel/schedule.h"

namespace drover {
namespace {

using Key = std::tuple<Op, int, int>;  // op, micro-batch, unit

// Where each action stands in one rank's program. A table, because long pipelines have millions of actions.
class Places {
 public:
  Places(int microbatches, int units)
      : microbatches_(microbatches), units_(units),
        places_(kOps * static_cast<size_t>(microbatches + 1) * static_cast<size_t>(units + 1), -1) {}
  int at(const Key& key) const { return holds(key) ? places_[index(key)] : -1; }  // -1: nowhere
  void put(const Key& key, int place) {
    if (holds(key)) places_[index(key)] = place;
  }

 private:
  bool holds(const Key& key) const {
    const auto [op, microbatch, unit] = key;
    return microbatch >= -1 && microbatch < microbatches_ && unit >= -1 && unit < units_;
  }
  size_t index(const Key& key) const {
    const auto [op, microbatch, unit] = key;
    const size_t row = static_cast<size_t>(op) * static_cast<size_t>(microbatches_ + 1) + static_cast<size_t>(microbatch + 1);
    return row * static_cast<size_t>(units_ + 1) + static_cast<size_t>(unit + 1);
  }

  static constexpr size_t kOps = static_cast<size_t>(Op::reduce_grads) + 1;
  int microbatches_, units_;
  std::vector<int> places_;
};

class Verifier {
 public:
  Verifier(const std::vector<Program>& programs, const PipelineShape& shape, const LowerOptions& options)
      : programs_(programs), shape_(shape), options_(options) {
    for (const std::vector<int>& units : options.reduced) training_ = training_ || !units.empty();
  }

  std::vector<std::string> run() {
    for (int stage = 0; stage < shape_.stages; ++stage) check_rank(stage);
    if (problems_.empty()) check_transfers();
    return std::move(problems_);
  }

 private:
  const Program& program(int stage) const { return programs_[static_cast<size_t>(stage)]; }
  int units(int stage) const { return shape_.units[static_cast<size_t>(stage)]; }
  void problem(int stage, const std::string& text) { problems_.push_back("stage " + std::to_string(stage) + ": " + text); }
  static std::string word(int stage, const Key& key) {
    return to_string(Action{std::get<0>(key), static_cast<int16_t>(stage), static_cast<int16_t>(std::get<1>(key)),
                            static_cast<int16_t>(std::get<2>(key))});
  }

  std::vector<Key> expected(int stage) const {
    std::vector<Key> keys;
    const bool first = stage == 0, last = stage == shape_.stages - 1;
    for (int m = 0; m < shape_.microbatches; ++m) {
      if (!first) keys.push_back({Op::recv_act, m, -1});
      if (!last) keys.push_back({Op::send_act, m, -1});
      if (training_ && !last) keys.push_back({Op::recv_grad, m, -1});
      if (training_ && !first) keys.push_back({Op::send_grad, m, -1});
      for (int unit = 0; unit < units(stage); ++unit) {
        keys.push_back({Op::forward, m, unit});
        if (!training_) continue;
        keys.push_back({Op::backward, m, unit});
        if (recomputes(stage, unit)) keys.push_back({Op::recompute, m, unit});
      }
    }
    for (int unit : options_.replicated[static_cast<size_t>(stage)]) keys.push_back({Op::reduce_replicated, -1, unit});
    for (int unit : options_.reduced[static_cast<size_t>(stage)]) keys.push_back({Op::reduce_grads, -1, unit});
    return keys;
  }
  int unit_count(int stage) const {  // the tied embedding's copy, which is reduced but not executed, included
    int count = units(stage);
    for (const std::vector<int>* some :
         {&options_.replicated[static_cast<size_t>(stage)], &options_.reduced[static_cast<size_t>(stage)]})
      for (const int unit : *some) count = std::max(count, unit + 1);
    return count;
  }
  bool recomputes(int stage, int unit) const { return options_.recompute[static_cast<size_t>(stage)][static_cast<size_t>(unit)]; }

  void check_rank(int stage) {
    Places places(shape_.microbatches, unit_count(stage));
    for (int i = 0; i < static_cast<int>(program(stage).size()); ++i) {
      const Action& action = program(stage)[static_cast<size_t>(i)];
      const Key key{action.op, action.microbatch, action.unit};
      if (action.stage != stage) problem(stage, to_string(action) + " belongs to another rank");
      if (places.at(key) >= 0) problem(stage, to_string(action) + " is there twice");
      places.put(key, i);
    }
    const std::vector<Key> keys = expected(stage);
    for (const Key& key : keys)
      if (places.at(key) < 0) problem(stage, word(stage, key) + " is missing");
    if (program(stage).size() > keys.size()) problem(stage, "actions that nobody expects");
    if (problems_.empty()) check_order(stage, places);
  }

  void check_order(int stage, const Places& places) {
    const auto after = [&](const Key& later, const Key& earlier) {
      if (places.at(later) >= 0 && places.at(later) < places.at(earlier))
        problem(stage, word(stage, later) + " comes before " + word(stage, earlier));
    };
    const int top = units(stage) - 1;
    for (int m = 0; m < shape_.microbatches; ++m) {
      after({Op::forward, m, 0}, {Op::recv_act, m, -1});
      after({Op::send_act, m, -1}, {Op::forward, m, top});
      after({Op::backward, m, top}, {Op::recv_grad, m, -1});
      after({Op::send_grad, m, -1}, {Op::backward, m, 0});
      after({Op::backward, m, top}, {Op::forward, m, top});
      for (int unit = 0; unit <= top; ++unit) {
        after({Op::forward, m, unit}, {Op::forward, m, unit - 1});
        after({Op::backward, m, unit}, {Op::backward, m, unit + 1});
        after({Op::reduce_replicated, -1, unit}, {Op::backward, m, unit});
        after({Op::reduce_grads, -1, unit}, {Op::backward, m, unit});
        check_recompute(stage, places, m, unit);
      }
      for (int copy : options_.reduced[static_cast<size_t>(stage)])  // the tied embedding's copy gets its gradient from the head
        if (copy > top)
          after({Op::reduce_replicated, -1, copy}, {Op::backward, m, top}),
              after({Op::reduce_grads, -1, copy}, {Op::backward, m, top});
    }
    for (int unit : options_.reduced[static_cast<size_t>(stage)])
      after({Op::reduce_grads, -1, unit}, {Op::reduce_replicated, -1, unit});
  }

  // Recomputed activations lie in buffers that all blocks share: nothing may compute between them and their backward.
  void check_recompute(int stage, const Places& places, int m, int unit) {
    const int place = places.at({Op::recompute, m, unit});
    if (place < 0) return;
    const Program& actions = program(stage);
    size_t next = static_cast<size_t>(place) + 1;
    while (next < actions.size() && !computes(actions[next].op)) ++next;
    if (next == actions.size() ||
        actions[next] != Action{Op::backward, static_cast<int16_t>(stage), static_cast<int16_t>(m), static_cast<int16_t>(unit)})
      problem(stage, to_string(actions[static_cast<size_t>(place)]) + " is not followed by its backward");
  }

  // The rank that an action meets, and the action that it must meet there; -1: the action needs nobody.
  std::pair<int, Action> partner(const Action& action) const {
    const int last = shape_.stages - 1;
    Action other = action;
    const auto at = [&](int stage, Op op) {
      other.stage = static_cast<int16_t>(stage);
      other.op = op;
      return std::pair{stage, other};
    };
    switch (action.op) {
      case Op::send_act: return at(action.stage + 1, Op::recv_act);
      case Op::recv_act: return at(action.stage - 1, Op::send_act);
      case Op::send_grad: return at(action.stage - 1, Op::recv_grad);
      case Op::recv_grad: return at(action.stage + 1, Op::send_grad);
      case Op::reduce_replicated:
        if (const int copy = tied_copy(); copy >= 0) {
          if (action.stage == 0 && action.unit == 0)
            return other.unit = static_cast<int16_t>(copy), at(last, Op::reduce_replicated);
          if (action.stage == last && action.unit == copy) return other.unit = 0, at(0, Op::reduce_replicated);
        }
        return {-1, action};
      default: return {-1, action};
    }
  }
  int tied_copy() const {
    const int last = shape_.stages - 1;
    for (int unit : options_.replicated[static_cast<size_t>(last)])
      if (last > 0 && unit >= units(last)) return unit;
    return -1;
  }

  void check_transfers() {
    std::vector<size_t> next(programs_.size(), 0);
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t s = 0; s < programs_.size(); ++s) {
        while (next[s] < programs_[s].size()) {
          const auto [peer, wanted] = partner(programs_[s][next[s]]);
          if (peer >= 0) {
            const size_t p = static_cast<size_t>(peer);
            if (next[p] == programs_[p].size() || programs_[p][next[p]] != wanted) break;
            ++next[p];
          }
          ++next[s];
          moved = true;
        }
      }
    }
    for (size_t s = 0; s < programs_.size(); ++s)
      if (next[s] < programs_[s].size()) problem(static_cast<int>(s), "waits forever in " + to_string(programs_[s][next[s]]));
  }

  const std::vector<Program>& programs_;
  const PipelineShape& shape_;
  const LowerOptions& options_;
  bool training_ = false;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> verify(const std::vector<Program>& programs, const PipelineShape& shape, const LowerOptions& options) {
  return Verifier(programs, shape, options).run();
}

}  // namespace drover
