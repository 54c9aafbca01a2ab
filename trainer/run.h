// The training run around the engine: resume, the loop, validation, metrics, checkpoints, stop signals.
#pragma once
#include "kernels/base/error.h"
#include "parallel/world.h"
#include "trainer/preflight.h"

namespace drover {

// Returns the exit code: done, or requeue (75) after a stop signal. Throws Error for everything that a person must see.
int run_training(const TrainRequest& request, const LauncherView& view);

// An Error's own code; memory where the system refused some, storage for a file operation that failed; else internal.
ExitCode exit_code_of(const std::exception& error);

}  // namespace drover
