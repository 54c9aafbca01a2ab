// The judge of lowered programs: runs them, one program counter a rank, on in-order rendezvous channels, with nothing of the verifier's
// own reasoning. What a person would do with a pencil; slow and obvious.
#pragma once
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/schedule.h"

namespace drover {

class Interpreter {
 public:
  Interpreter(const std::vector<Program>& programs, const PipelineShape& shape, const LowerOptions& options)
      : programs_(programs), shape_(shape), options_(options), ranks_(programs.size()) {
    for (const auto& units : options.reduced) training_ = training_ || !units.empty();
    for (size_t s = 0; s < ranks_.size(); ++s) ranks_[s].stage = static_cast<int>(s);
  }

  // "": the step ran to its end. Otherwise what stopped it.
  std::string run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (Rank& rank : ranks_)
        while (stopped_.empty() && step(rank)) moved = true;
      if (!stopped_.empty()) return stopped_;
    }
    for (const Rank& rank : ranks_) {
      if (at(rank) != nullptr) return "deadlock in " + to_string(*at(rank));
      if (std::string left = leftover(rank); !left.empty()) return left;
    }
    return "";
  }

 private:
  using Fact = std::tuple<Op, int, int>;  // what has happened on a rank: op, micro-batch, unit
  struct Rank {
    int stage = 0;
    size_t counter = 0;
    std::set<Fact> done;
    const Action* recomputed = nullptr;  // whose activations lie in the shared buffers, not used yet
  };

  const Action* at(const Rank& rank) const {
    const Program& program = programs_[static_cast<size_t>(rank.stage)];
    return rank.counter < program.size() ? &program[rank.counter] : nullptr;
  }
  int units(int stage) const { return shape_.units[static_cast<size_t>(stage)]; }
  bool is_first(const Rank& rank) const { return rank.stage == 0; }
  bool is_last(const Rank& rank) const { return rank.stage == shape_.stages - 1; }
  static bool has(const Rank& rank, Op op, int m, int unit) { return rank.done.contains({op, m, unit}); }
  static bool among(const std::vector<int>& units, int unit) {
    for (const int one : units)
      if (one == unit) return true;
    return false;
  }
  bool recomputes(const Rank& rank, int unit) const {
    return options_.recompute[static_cast<size_t>(rank.stage)][static_cast<size_t>(unit)];
  }

  // One action of a rank, with its partner's when it is a transfer; false when the rank waits or has ended.
  bool step(Rank& rank) {
    const Action* action = at(rank);
    if (action == nullptr) return false;
    if (!legal(rank, *action)) return false;
    Rank* partner = nullptr;
    Op answer{};
    int answer_unit = -1;
    switch (action->op) {
      case Op::send_act: partner = neighbour(rank, 1), answer = Op::recv_act; break;
      case Op::recv_act: partner = neighbour(rank, -1), answer = Op::send_act; break;
      case Op::send_grad: partner = neighbour(rank, -1), answer = Op::recv_grad; break;
      case Op::recv_grad: partner = neighbour(rank, 1), answer = Op::send_grad; break;
      case Op::reduce_replicated:
        answer = Op::reduce_replicated;
        if (tied() && is_first(rank) && action->unit == 0) partner = &ranks_.back(), answer_unit = units(shape_.stages - 1);
        if (tied() && is_last(rank) && action->unit >= units(rank.stage)) partner = &ranks_.front(), answer_unit = 0;
        break;
      default: break;
    }
    if (partner != nullptr) {
      const Action* other = at(*partner);
      if (other == nullptr || other->op != answer || other->microbatch != action->microbatch || other->unit != answer_unit)
        return false;
      if (!legal(*partner, *other)) return false;
      complete(*partner, *other);
    }
    complete(rank, *action);
    return true;
  }
  bool tied() const { return shape_.stages > 1 && among(options_.replicated.back(), units(shape_.stages - 1)); }
  Rank* neighbour(const Rank& rank, int step) { return &ranks_[static_cast<size_t>(rank.stage) + static_cast<size_t>(step)]; }

  void complete(Rank& rank, const Action& action) {
    rank.done.insert({action.op, action.microbatch, action.unit});
    ++rank.counter;
    if (action.op == Op::recompute) rank.recomputed = &action;
    if (action.op == Op::forward || action.op == Op::backward) rank.recomputed = nullptr;
  }

  bool stop(const Action& action, const std::string& why) {
    stopped_ = to_string(action) + ": " + why;
    return false;
  }

  bool legal(const Rank& rank, const Action& action) {
    if (action.stage != rank.stage) return stop(action, "on the wrong rank");
    if (has(rank, action.op, action.microbatch, action.unit)) return stop(action, "a second time");
    const int m = action.microbatch, unit = action.unit, top = units(rank.stage) - 1;
    const bool whole_step = action.op == Op::reduce_replicated || action.op == Op::reduce_grads;
    if (!whole_step && (m < 0 || m >= shape_.microbatches)) return stop(action, "no such micro-batch");
    if (!training_ && action.op != Op::forward && action.op != Op::send_act && action.op != Op::recv_act)
      return stop(action, "not now");
    switch (action.op) {
      case Op::forward:
        if (unit < 0 || unit > top) return stop(action, "no such unit");
        if (unit == 0 && !is_first(rank) && !has(rank, Op::recv_act, m, -1)) return stop(action, "its input is not here");
        if (unit > 0 && !has(rank, Op::forward, m, unit - 1)) return stop(action, "the unit below has not run");
        break;
      case Op::recompute:
        if (unit < 0 || unit > top || !recomputes(rank, unit)) return stop(action, "nothing to recompute");
        if (!has(rank, Op::forward, m, unit)) return stop(action, "before its forward");
        break;
      case Op::backward:
        if (unit < 0 || unit > top) return stop(action, "no such unit");
        if (!has(rank, Op::forward, m, unit)) return stop(action, "before its forward");
        if (unit == top && !is_last(rank) && !has(rank, Op::recv_grad, m, -1)) return stop(action, "its gradient is not here");
        if (unit < top && !has(rank, Op::backward, m, unit + 1)) return stop(action, "the unit above has not run");
        if (recomputes(rank, unit) &&
            (rank.recomputed == nullptr || rank.recomputed->microbatch != m || rank.recomputed->unit != unit))
          return stop(action, "its activations are not in the shared buffers");
        if (!recomputes(rank, unit) && rank.recomputed != nullptr)
          return stop(action, "over another unit's recomputed activations");
        break;
      case Op::send_act:
        if (is_last(rank)) return stop(action, "to nobody");
        if (!has(rank, Op::forward, m, top)) return stop(action, "nothing to send");
        break;
      case Op::recv_act:
        if (is_first(rank)) return stop(action, "from nobody");
        break;
      case Op::send_grad:
        if (is_first(rank)) return stop(action, "to nobody");
        if (!has(rank, Op::backward, m, 0)) return stop(action, "nothing to send");
        break;
      case Op::recv_grad:
        if (is_last(rank)) return stop(action, "from nobody");
        break;
      case Op::reduce_replicated:
      case Op::reduce_grads: return legal_reduction(rank, action);
      default: return stop(action, "not in this version");
    }
    return true;
  }

  bool legal_reduction(const Rank& rank, const Action& action) {
    const size_t s = static_cast<size_t>(rank.stage);
    const bool grads = action.op == Op::reduce_grads;
    if (!among((grads ? options_.reduced : options_.replicated)[s], action.unit)) return stop(action, "not such a unit");
    const int source = action.unit < units(rank.stage) ? action.unit : units(rank.stage) - 1;  // a tied copy: of the head
    for (int m = 0; m < shape_.microbatches; ++m)
      if (!has(rank, Op::backward, m, source)) return stop(action, "a gradient is still to come");
    if (grads && among(options_.replicated[s], action.unit) && !has(rank, Op::reduce_replicated, -1, action.unit))
      return stop(action, "the other parts are not added yet");
    return true;
  }

  std::string leftover(const Rank& rank) const {
    size_t expected = 0;
    const size_t s = static_cast<size_t>(rank.stage);
    for (int unit = 0; unit < units(rank.stage); ++unit) expected += training_ ? 2u + recomputes(rank, unit) : 1u;
    expected += (is_first(rank) ? 0u : 1u) + (is_last(rank) ? 0u : 1u);
    if (training_) expected += (is_first(rank) ? 0u : 1u) + (is_last(rank) ? 0u : 1u);
    expected *= static_cast<size_t>(shape_.microbatches);
    expected += options_.replicated[s].size() + options_.reduced[s].size();
    return rank.done.size() == expected ? "" : "stage " + std::to_string(rank.stage) + " ends early";
  }

  const std::vector<Program>& programs_;
  const PipelineShape& shape_;
  const LowerOptions& options_;
  std::vector<Rank> ranks_;
  std::string stopped_;
  bool training_ = false;
};

}  // namespace drover
