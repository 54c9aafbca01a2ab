// The training run around the engine: checks before MPI, resume, the loop, validation, metrics, checkpoints, stop signals.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "configs/config.h"
#include "kernels/base/error.h"
#include "parallel/schedule.h"
#include "parallel/world.h"

namespace drover {

struct TrainRequest {
  std::string config;                  // YAML file
  std::vector<std::string> overrides;  // key.path=value
  bool tiny = false;
  bool resume = false;        // `drover resume`: config is RUN_DIR/config.yaml
  std::string run_directory;  // of resume
  bool log_actions = false;   // each rank writes what it did to RUN_DIR: actions_rank_N.txt (first step), counters_rank_N.json
};

// Loads, overrides and validates; throws Error(config) with every violation.
Config resolve_config(const TrainRequest& request, int64_t ranks);

// Of one checkpoint on disk, a little more than it takes.
int64_t checkpoint_bytes(const Config& config);

// Resolves run.threads 0. With more threads than cores, starts the program over so that they wait passively, and returns a warning.
std::string resolve_threads(Config& config, const LauncherView& view);

// Returns the exit code: done, or requeue (75) after a stop signal. Throws Error for everything that a person must see.
int run_training(const TrainRequest& request, const LauncherView& view);

// An Error's own code; memory where the system refused some, storage for a file operation that failed; else internal.
ExitCode exit_code_of(const std::exception& error);

}  // namespace drover
