// What can be known to be wrong before MPI starts, on a laptop in milliseconds: configuration, threads, data, memory, run directory.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/mixture.h"
#include "parallel/world.h"
#include "trainer/run_directory.h"

namespace drover {

struct TrainRequest {
  std::string config;                  // YAML file
  std::vector<std::string> overrides;  // key.path=value
  bool tiny = false;
  bool resume = false;        // `drover resume`: config is RUN_DIR/config.yaml
  std::string run_directory;  // of resume
  bool log_actions = false;   // each rank writes what it did to RUN_DIR: actions_rank_N.txt (first step), counters_rank_N.json
};

// What a run has when it may start.
struct Prepared {
  Config config;
  std::unique_ptr<Mixture> train;
  std::unique_ptr<TokenDataset> validation;  // of samples of the longest sequence
  std::vector<LossWeight> loss_weights;
  std::unique_ptr<RunDirectory> directory;  // rank 0 only
  std::string warning;                      // said once, after the start; may be empty
};

// Loads, overrides and validates; throws Error(config) with every violation.
Config resolve_config(const TrainRequest& request, int64_t ranks);

// Of one checkpoint on disk, a little more than it takes.
int64_t checkpoint_bytes(const Config& config);

// Resolves run.threads 0. With more threads than cores, starts the program over so that they wait passively, and returns a warning.
std::string resolve_threads(Config& config, const LauncherView& view);

// All of it. Throws Error with the exit code of what is wrong: configuration, data, memory, resume, storage.
Prepared prepare_run(const TrainRequest& request, const LauncherView& view);

}  // namespace drover
