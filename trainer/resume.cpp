#include "trainer/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "kernels/base/error.h"
#include "kernels/base/host.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/run_directory.h"

namespace drover {
namespace {

bool sets(const std::vector<std::string>& overrides, const std::string& key) {
  return std::any_of(overrides.begin(), overrides.end(), [&](const std::string& text) { return text.starts_with(key + "="); });
}

bool fixed(const std::string& key) { return key.starts_with("model.") || key == "train.seed" || key == "train.sequence"; }
bool expected_to_differ(const std::string& key) {
  return key == "parallel.dp" || key.starts_with("checkpoint.resume") || key == "run.dir";
}

// `damage`: of the newest, "" when there is none at all; then a fresh start loses nothing.
Error no_checkpoint(const Config& config, const std::string& damage) {
  return Error(ExitCode::resume, fmt::format("no valid checkpoint in {}/checkpoints{}; name one with checkpoint.resume=PATH, or {}",
                                             config.run.dir, damage.empty() ? "" : ": " + damage,
                                             damage.empty() ? "start with checkpoint.resume=auto" : "start in another run.dir"));
}

// Going on from a checkpoint of elsewhere, beside what another run left, would make one run out of two.
void require_own_run(const Config& config) {
  namespace fs = std::filesystem;
  const fs::path own = fs::path(config.run.dir) / "checkpoints", checkpoint = config.checkpoint.resume;
  if (fs::weakly_canonical(checkpoint).parent_path() == fs::weakly_canonical(own) || step_directories(own).empty()) return;
  throw Error(ExitCode::resume,
              fmt::format("checkpoint.resume {} is of another run than the one in run.dir {}: `drover resume {}` goes on with that "
                          "one, another run.dir starts a new one from the checkpoint",
                          checkpoint.string(), config.run.dir, config.run.dir));
}

// What the samples of a checkpoint were drawn from. One of before mixtures has data.train alone, and does not say how many tokens it had.
OrderSpec order_of(const CheckpointInfo& found, const Config& saved, const OrderSpec& now, bool mixes) {
  OrderSpec order = found.state.order;
  const bool recorded = !order.sources.empty();
  if (!recorded) order = order_spec(saved, {saved.train.sequence + 1});
  for (const OrderSource& source : now.sources)
    if ((!recorded || !mixes) && source.name == order.sources.front().name) order.sources.front().tokens = source.tokens;
  if (!is_sound(order))
    throw Error(ExitCode::resume, fmt::format("checkpoint {}: its record of the samples' order is damaged", found.path.string()));
  return order;
}

}  // namespace

void prepare_for_resume(LoadedConfig& loaded, const Config& saved, const std::vector<std::string>& overrides,
                        const std::string& run_directory, int64_t ranks) {
  Config& config = loaded.config;
  const int64_t before = saved.parallel.dp * saved.parallel.tp * saved.parallel.pp * saved.parallel.cp;
  if (!sets(overrides, "parallel.dp")) config.parallel.dp = 0;
  if (before != ranks && !sets(overrides, "run.threads")) config.run.threads = 0;
  if (!sets(overrides, "checkpoint.resume")) config.checkpoint.resume = "must";
  if (sets(overrides, "run.dir"))
    loaded.violations.push_back(
        {"--set run.dir", fmt::format("`drover resume {}` goes on in {}; `drover train` with checkpoint.resume=PATH "
                                      "goes on from a checkpoint in another directory",
                                      run_directory, run_directory)});
  config.run.dir = run_directory;
}

void require_resumable(const Config& config) {
  namespace fs = std::filesystem;
  const std::string& mode = config.checkpoint.resume;
  if (mode == "never" || mode == "auto") return;
  if (mode == "must") {
    if (step_directories(fs::path(config.run.dir) / "checkpoints").empty()) throw no_checkpoint(config, "");
    return;
  }
  if (fs::exists(fs::path(mode) / "manifest.pb")) return require_own_run(config);
  const std::vector<fs::path> inside = step_directories(fs::path(mode) / "checkpoints");
  throw Error(ExitCode::resume,
              inside.empty()
                  ? fmt::format("checkpoint.resume {}: there is no checkpoint (no manifest.pb); name a directory such as "
                                "runs/mine/checkpoints/step_00001000",
                                mode)
                  : fmt::format("checkpoint.resume {} is a run directory: name one of its checkpoints, such as {}", mode,
                                inside.front().string()));
}

std::optional<CheckpointInfo> find_checkpoint(CheckpointStore& store, const Config& config,
                                              const std::function<void(const std::string&)>& say) {
  const std::string& mode = config.checkpoint.resume;
  if (mode == "never") return std::nullopt;
  if (mode != "auto" && mode != "must") return store.verified(mode);
  std::vector<std::string> report;
  std::optional<CheckpointInfo> found = store.latest_valid(report);
  for (const std::string& line : report) say(line);
  if (!found && report.size() > 1)
    throw no_checkpoint(config, fmt::format("all {} are damaged, the newest: {}", report.size(), report.front()));
  if (!found && (mode == "must" || !report.empty())) throw no_checkpoint(config, report.empty() ? "" : report.front());
  if (!found) say("no checkpoint found: a fresh start");
  return found;
}

std::vector<std::string> compare_with_checkpoint(const CheckpointInfo& found, const RunState& now, const Config& config) {
  const LoadedConfig saved = load_config_text(found.state.config_yaml, found.path.string() + " (saved configuration)", {});
  if (!saved.violations.empty())
    throw Error(ExitCode::resume, fmt::format("checkpoint {}: its configuration is of another version: {}", found.path.string(),
                                              saved.violations.front().message));
  std::vector<std::string> lines;
  std::string forbidden;
  for (const ConfigDifference& difference : diff(saved.config, config)) {
    const std::string text = fmt::format("{}: {} -> {}", difference.key, difference.before, difference.after);
    if (fixed(difference.key))
      forbidden += "\n  " + text;
    else if (!expected_to_differ(difference.key))
      lines.push_back("changed " + text);
  }
  if (found.state.tokenizer_hash != now.tokenizer_hash)
    forbidden += fmt::format("\n  tokenizer: {} ({:016x}) -> {} ({:016x})", found.state.tokenizer, found.state.tokenizer_hash,
                             now.tokenizer, now.tokenizer_hash);
  if (!now.order.sources.empty()) {
    const bool mixes = !saved.config.data.sources.empty() || !config.data.sources.empty();
    for (const std::string& text :
         changed_past(order_of(found, saved.config, now.order, mixes), now.order, found.state.samples_consumed))
      forbidden += "\n  " + text;
  }
  if (!forbidden.empty())
    throw Error(ExitCode::resume,
                fmt::format("checkpoint {} is of another run; these cannot change on resume:{}", found.path.string(), forbidden));
  const auto note = [&](const char* what, const std::string& before, const std::string& after) {
    if (before != after) lines.push_back(fmt::format("{}: {} -> {} (the last bits of losses may differ)", what, before, after));
  };
  note("layout", found.state.layout, now.layout);
  note("build", found.state.build, now.build);
  note("instruction set", found.state.instruction_set, now.instruction_set);
  note("threads", std::to_string(found.state.threads), std::to_string(now.threads));
  if (found.state.dataset_hash != now.dataset_hash)
    lines.push_back(fmt::format("{}: other shards than before; samples are drawn from the new ones",
                                config.data.sources.empty() ? "data.train" : "data.sources"));
  return lines;
}

RunStart describe_start(const RunState& state, const Config& config, int ranks, const std::optional<CheckpointInfo>& loaded_from,
                        const std::string& config_before) {
  RunStart start{.time = {},
                 .host = host_name(),
                 .ranks = ranks,
                 .threads = state.threads,
                 .layout = state.layout,
                 .build = state.build,
                 .instruction_set = state.instruction_set,
                 .dataset = fmt::format("{:016x}", state.dataset_hash),
                 .step = state.step,
                 .checkpoint = loaded_from ? loaded_from->path.string() : "",
                 .changed = {}};
  const std::string before = config_before.empty() && loaded_from ? loaded_from->state.config_yaml : config_before;
  if (!before.empty()) start.changed = diff(load_config_text(before, "before", {}).config, config);
  std::erase_if(start.changed, [](const ConfigDifference& d) { return d.key == "checkpoint.resume" || d.key == "run.dir"; });
  return start;
}

std::string layout_text(const ParallelConfig& p) { return fmt::format("dp {}, tp {}, pp {}, zero {}", p.dp, p.tp, p.pp, p.zero); }

}  // namespace drover
