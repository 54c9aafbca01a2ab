// Which checkpoint a run continues from, and whether it may.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "configs/load.h"
#include "trainer/checkpoint/store.h"
#include "trainer/history.h"

namespace drover {

// For `drover resume`: `loaded`, the saved configuration with the command line's settings, goes on in this run directory; dp is derived
// again, and the threads too when the number of ranks differs from the saved run's, unless the command line sets them.
void prepare_for_resume(LoadedConfig& loaded, const Config& saved, const std::vector<std::string>& overrides,
                        const std::string& run_directory, int64_t ranks);

// Before anything starts, on one rank: throws Error(resume) when the checkpoint that checkpoint.resume asks for is plainly not there.
void require_resumable(const Config& config);

// Collective. By checkpoint.resume: nullopt means a fresh start. Throws Error(resume) when a checkpoint was asked for and none is valid.
std::optional<CheckpointInfo> find_checkpoint(CheckpointStore& store, const Config& config,
                                              const std::function<void(const std::string&)>& say);

// Throws Error(resume) when the model, the seed, the sequence or the tokenizer differ; returns what else differs, in words.
std::vector<std::string> compare_with_checkpoint(const CheckpointInfo& found, const RunState& now, const Config& config);

// For the history. `config_before`: of the start before in this run directory, as YAML; "": there was none, and settings are compared with
// those that the checkpoint was saved with.
RunStart describe_start(const RunState& state, const Config& config, int ranks, const std::optional<CheckpointInfo>& loaded_from,
                        const std::string& config_before);

std::string layout_text(const ParallelConfig& parallel);

}  // namespace drover
