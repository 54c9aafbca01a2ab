// Stages to units, and where transfers and reductions go.
#include <algorithm>

#include "parallel/schedule.h"
#include "parallel/schedule_clock.h"

namespace drover {
namespace {

class Lowering {
 public:
  Lowering(const std::vector<Program>& schedule, const PipelineShape& shape, const LowerOptions& options)
      : shape_(shape), options_(options), programs_(schedule.size()), backwards_left_(schedule.size(), 0) {
    for (size_t s = 0; s < schedule.size(); ++s)
      backwards_left_[s] = static_cast<int>(
          std::count_if(schedule[s].begin(), schedule[s].end(), [](const Action& action) { return action.op == Op::backward; }));
  }

  void start(const Action& action) {
    const int units = shape_.units[static_cast<size_t>(action.stage)];
    if (action.op == Op::forward) {
      for (int unit = 0; unit < units; ++unit) add(action.stage, Op::forward, action.microbatch, unit);
      return;
    }
    const bool last = --backwards_left_[static_cast<size_t>(action.stage)] == 0;
    for (int unit = units - 1; unit >= 0; --unit) {
      if (options_.recompute[static_cast<size_t>(action.stage)][static_cast<size_t>(unit)])
        add(action.stage, Op::recompute, action.microbatch, unit);
      add(action.stage, Op::backward, action.microbatch, unit);
      if (last && unit > 0) reduce(action.stage, unit);
    }
  }

  // Send and receive are written at one moment on both sides. The first unit is reduced after its gradient was sent on: the stage before
  // waits for nothing else.
  void finish(const Action& action) {
    const int s = action.stage;
    if (action.op == Op::forward) {
      if (s + 1 < shape_.stages) transfer(s, Op::send_act, s + 1, Op::recv_act, action.microbatch);
      return;
    }
    if (s > 0) transfer(s, Op::send_grad, s - 1, Op::recv_grad, action.microbatch);
    if (backwards_left_[static_cast<size_t>(s)] > 0) return;
    reduce(s, 0);
    for (int unit : options_.reduced[static_cast<size_t>(s)])
      if (unit >= shape_.units[static_cast<size_t>(s)]) reduce(s, unit);
  }

  std::vector<Program> take() { return std::move(programs_); }

 private:
  static bool contains(const std::vector<int>& units, int unit) {
    return std::find(units.begin(), units.end(), unit) != units.end();
  }

  void add(int stage, Op op, int microbatch, int unit) {
    programs_[static_cast<size_t>(stage)].push_back(
        {op, static_cast<int16_t>(stage), static_cast<int16_t>(microbatch), static_cast<int16_t>(unit)});
  }
  void transfer(int from, Op send, int to, Op recv, int microbatch) {
    add(from, send, microbatch, -1);
    add(to, recv, microbatch, -1);
  }
  void reduce(int stage, int unit) {
    if (contains(options_.replicated[static_cast<size_t>(stage)], unit)) add(stage, Op::reduce_replicated, -1, unit);
    if (contains(options_.reduced[static_cast<size_t>(stage)], unit)) add(stage, Op::reduce_grads, -1, unit);
  }

  const PipelineShape& shape_;
  const LowerOptions& options_;
  std::vector<Program> programs_;
  std::vector<int> backwards_left_;
};

}  // namespace

std::vector<Program> lower(const std::vector<Program>& schedule, const PipelineShape& shape, const LowerOptions& options) {
  Lowering lowering(schedule, shape, options);
  run_clock(
      schedule, shape, [&](const Action& action, int, int) { lowering.start(action); },
      [&](const Action& action) { lowering.finish(action); });
  return lowering.take();
}

}  // namespace drover
