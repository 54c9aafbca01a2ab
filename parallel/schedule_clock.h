// A clock over a compute-only schedule: each pipeline rank runs its actions in order, each as soon as its inputs are there (forward takes
// one slot, backward two, transfers none). What happens, in the order of time, is told to the caller: it is the global order in which
// `lower` writes transfers, and the picture that `draw` shows.
#pragma once
#include <functional>

#include "parallel/schedule.h"

namespace drover {

// started(action, begin, end) when an action starts, finished(action) when it ends, in order of time; at one time ends come before starts,
// lower stages first. Returns the number of slots. Throws Error(internal) when the schedule cannot run.
int run_clock(const std::vector<Program>& schedule, const PipelineShape& shape,
              const std::function<void(const Action&, int begin, int end)>& started,
              const std::function<void(const Action&)>& finished);

}  // namespace drover
