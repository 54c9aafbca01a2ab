// What one rank's share of a run was, for `--log-actions` and the tests that add the ranks up: operations and bytes of the ops by kind, tensor
// memory by category and as the system saw it, checkpoint bytes read and verified, and hashes of the weights and optimizer state that it
// holds, so that copies can be compared.
#pragma once
#include <filesystem>

#include "trainer/checkpoint/store.h"
#include "trainer/engine.h"

namespace drover {

// counters_rank_RANK.json in the run directory. `grown`: resident bytes since before the engine was made.
void write_counters(const std::filesystem::path& run_directory, int rank, Engine& engine, const CheckpointStore& store,
                    int64_t grown);

}  // namespace drover
