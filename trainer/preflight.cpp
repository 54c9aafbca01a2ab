#include "trainer/preflight.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "configs/load.h"
#include "configs/validate.h"
#include "kernels/base/threads.h"
#include "trainer/device.h"
#include "trainer/memory_limit.h"
#include "trainer/resume.h"

namespace drover {
namespace {

void open_data(Prepared& prepared) {
  const Config& config = prepared.config;
  std::string problems;
  const auto attempt = [&](const char* key, const auto& open) {
    try {
      open();
    } catch (const Error& error) {
      problems += fmt::format("{}{}{}", problems.empty() ? "" : "\n  ", key, error.what());
    }
  };
  attempt("", [&] { prepared.train = std::make_unique<Mixture>(config); });
  if (!config.data.validation.empty())
    attempt("data.validation: ", [&] {
      prepared.validation = std::make_unique<TokenDataset>(config.data.validation, longest_sequence(config), config.model.vocab);
    });
  if (!problems.empty()) throw Error(ExitCode::data, problems);
  require_epochs(config, *prepared.train);
  if (prepared.validation && prepared.validation->tokenizer_hash() != prepared.train->tokenizer_hash())
    throw Error(ExitCode::data, fmt::format("{} was prepared with tokenizer {}, data.validation with {}",
                                            config.data.sources.empty() ? "data.train" : "data.sources",
                                            prepared.train->tokenizer(), prepared.validation->tokenizer()));
  prepared.loss_weights = loss_weights_of(config.data, prepared.train->tokenizer(), prepared.train->tokenizer_hash());
}

}  // namespace

int64_t checkpoint_bytes(const Config& config) {
  const int64_t arrays = 3 + (config.checkpoint.gradients ? 1 : 0);
  return arrays * 4 * parameter_count(config.model) + (int64_t{1} << 20);
}

std::string resolve_threads(Config& config, const LauncherView& view) {
  const int cores = cores_of_rank(view);
  if (config.run.threads == 0) config.run.threads = cores;
  if (config.run.threads <= cores) return "";
  wait_passively();
  return fmt::format(
      "warning: {} threads in each of {} ranks on this host, which have {} cores each: they take turns; run.threads: 0 "
      "chooses",
      config.run.threads, view.local_size, cores);
}

Config resolve_config(const TrainRequest& request, int64_t ranks) {
  std::optional<Config> saved;  // read by itself first: what is wrong with it is no fault of the command line
  if (request.resume) saved = config_of_run(request.run_directory);
  LoadedConfig loaded = load_config(request.config, request.overrides);
  if (saved) prepare_for_resume(loaded, *saved, request.overrides, request.run_directory, ranks);
  if (request.tiny) {
    throw_if_any(loaded.violations);
    // Only the small model is checked; what it runs on comes from the command line as it would for the large one.
    if (loaded.config.run.dir.empty()) loaded.config.run.dir = "runs/" + std::filesystem::path(request.config).stem().string();
    loaded.config = tiny(loaded.config);
    LoadedConfig overridden = load_config_text(to_yaml(loaded.config), request.config, request.overrides);
    loaded.config = overridden.config;
    loaded.violations = overridden.violations;
    loaded.unread = overridden.unread;
  }
  throw_if_any(resolve_and_validate(loaded, ranks));
  return loaded.config;
}

Prepared prepare_run(const TrainRequest& request, const LauncherView& view) {
  Prepared prepared;
  prepared.config = resolve_config(request, view.size);
  Config& config = prepared.config;
  prepared.warning = resolve_threads(config, view);
  open_data(prepared);
  if (!may_use_gpu(config)) require_memory(at_sequence(config, longest_sequence(config)), Mesh(config.parallel), view.local_size);
  if (view.rank == 0) {
    require_resumable(config);
    prepared.directory = std::make_unique<RunDirectory>(config.run.dir, checkpoint_bytes(config));
    if (config.checkpoint.resume == "never" && prepared.directory->holds_run())
      throw Error(ExitCode::resume,
                  fmt::format("run directory {} already holds a run (checkpoint.resume is never): {}", config.run.dir,
                              request.resume ? "leave checkpoint.resume out to continue it"
                                             : fmt::format("`drover resume {}` continues it, checkpoint.resume=auto continues or "
                                                           "starts, run.dir names another directory",
                                                           config.run.dir)));
  }
  return prepared;
}

}  // namespace drover
