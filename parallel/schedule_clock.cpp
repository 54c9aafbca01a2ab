#include "parallel/schedule_clock.h"

#include "kernels/base/error.h"

namespace drover {
namespace {

struct Rank {
  size_t next = 0;  // index of the next action
  bool busy = false;
  int until = 0;  // slot in which the running action ends
};

// Which micro-batches have passed a stage, forward and backward.
struct Passed {
  std::vector<std::vector<bool>> forward, backward;  // [stage][micro-batch]
  bool ready(const Action& action, int stages) const {
    const size_t s = static_cast<size_t>(action.stage), m = static_cast<size_t>(action.microbatch);
    if (action.op == Op::forward) return action.stage == 0 || forward[s - 1][m];
    return forward[s][m] && (action.stage == stages - 1 || backward[s + 1][m]);
  }
};

}  // namespace

int run_clock(const std::vector<Program>& schedule, const PipelineShape& shape,
              const std::function<void(const Action&, int begin, int end)>& started,
              const std::function<void(const Action&)>& finished) {
  const size_t stages = static_cast<size_t>(shape.stages);
  std::vector<Rank> ranks(stages);
  Passed passed;
  passed.forward.assign(stages, std::vector<bool>(static_cast<size_t>(shape.microbatches), false));
  passed.backward = passed.forward;
  for (int now = 0;; ++now) {
    bool anything = false;
    for (size_t s = 0; s < stages; ++s) {
      Rank& rank = ranks[s];
      if (!rank.busy || rank.until != now) continue;
      const Action& action = schedule[s][rank.next++];
      (action.op == Op::forward ? passed.forward : passed.backward)[s][static_cast<size_t>(action.microbatch)] = true;
      rank.busy = false;
      finished(action);
      anything = true;
    }
    bool done = true, running = false;
    for (size_t s = 0; s < stages; ++s) {
      Rank& rank = ranks[s];
      if (!rank.busy && rank.next < schedule[s].size() && passed.ready(schedule[s][rank.next], shape.stages)) {
        rank.busy = true;
        rank.until = now + (schedule[s][rank.next].op == Op::forward ? 1 : 2);
        started(schedule[s][rank.next], now, rank.until);
        anything = true;
      }
      done = done && rank.next == schedule[s].size();
      running = running || rank.busy;
    }
    if (done) return now;
    DROVER_CHECK(anything || running, "the schedule waits for itself");
  }
}

}  // namespace drover
