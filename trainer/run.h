// The training run around the engine: resume, the loop, validation, metrics, checkpoints, stop signals.
#pragma once
#include "parallel/world.h"
#include "trainer/failure.h"
#include "trainer/preflight.h"

namespace drover {

// Returns the exit code: done, or requeue (75) after a stop signal. Throws Error for everything that a person must see.
int run_training(const TrainRequest& request, const LauncherView& view);

}  // namespace drover
