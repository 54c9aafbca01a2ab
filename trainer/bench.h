// `drover bench step`: the training step of a configuration on random tokens, timed. No data, no checkpoints.
#pragma once
#include "parallel/world.h"
#include "trainer/preflight.h"

namespace drover {

struct BenchOptions {
  int64_t steps = 10, warmup = 3;
  bool breakdown = false;  // where rank 0's time goes, by op
  bool json = false;       // one object on the last line
};

// Returns the exit code; prints on rank 0.
int bench_step(const TrainRequest& request, const BenchOptions& options, const LauncherView& view);

}  // namespace drover
