#include <fmt/format.h>

#include <filesystem>

#include "kernels/base/error.h"
#include "launch/commands.h"
#include "trainer/checkpoint/store.h"

namespace drover {
namespace {

// std::filesystem::exists without its own words for what cannot be looked into.
bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  const bool found = std::filesystem::exists(path, error);
  if (error) throw Error(ExitCode::resume, fmt::format("{} cannot be read: {}", path.string(), error.message()));
  return found;
}

bool is_run_directory(const std::filesystem::path& path) { return is_there(path / "checkpoints"); }

int list(const std::filesystem::path& run_directory) {
  const std::vector<CheckpointInfo> all = list_checkpoints(run_directory);
  if (all.empty()) throw Error(ExitCode::resume, run_directory.string() + " holds no checkpoints; name a run directory");
  for (const CheckpointInfo& info : all) {
    if (info.problem.empty())
      fmt::print("step {:<8} {:>12} bytes  {:>4} writers  {}  {}\n", info.step, info.bytes, info.writers, info.state.layout,
                 info.path.string());
    else
      fmt::print("step {:<8} DAMAGED: {}\n", info.step, info.problem);
  }
  return 0;
}

void require_checkpoint(const std::filesystem::path& path) {
  if (!is_there(path / "manifest.pb"))
    throw Error(ExitCode::resume,
                fmt::format("{} is neither a checkpoint (there is no manifest.pb) nor a run directory (no checkpoints/); "
                            "name runs/NAME or runs/NAME/checkpoints/step_N",
                            path.string()));
}

int verify(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> checkpoints;
  if (is_run_directory(path)) {
    for (const CheckpointInfo& info : list_checkpoints(path)) checkpoints.push_back(info.path);
    if (checkpoints.empty()) throw Error(ExitCode::resume, path.string() + " holds no checkpoints");
  } else {
    require_checkpoint(path);
    checkpoints.push_back(path);
  }
  bool sound = true;
  for (const auto& checkpoint : checkpoints) {
    const std::vector<std::string> problems = verify_checkpoint(checkpoint);
    if (!std::filesystem::exists(checkpoint)) continue;  // removed meanwhile, by a run that keeps the newest ones only
    fmt::print("{}: {}\n", checkpoint.string(), problems.empty() ? "sound" : "DAMAGED");
    for (const std::string& problem : problems) fmt::print("  {}\n", problem);
    sound = sound && problems.empty();
  }
  return sound ? 0 : static_cast<int>(ExitCode::resume);
}

int differences(const std::filesystem::path& a, const std::filesystem::path& b) {
  bool equal = true;
  for (const TensorDifference& d : compare_checkpoints(a, b)) {
    fmt::print("{:<9} {:<60} {} relative {:.3e} largest {:.3e}\n", d.array, d.name, d.equal_bits ? "equal  " : "differs",
               d.relative, d.largest);
    equal = equal && d.equal_bits;
  }
  fmt::print("{}\n", equal ? "all tensors are equal, bit for bit" : "the checkpoints differ");
  return static_cast<int>(equal ? ExitCode::done : ExitCode::different);
}

}  // namespace

std::filesystem::path checkpoint_of(const std::filesystem::path& path) {
  if (!is_run_directory(path)) {
    require_checkpoint(path);
    return path;
  }
  const std::vector<CheckpointInfo> all = list_checkpoints(path);
  for (const CheckpointInfo& info : all)
    if (info.problem.empty()) return info.path;
  throw Error(ExitCode::resume, path.string() + " holds no valid checkpoint" + (all.empty() ? "" : ": " + all.front().problem));
}

int checkpoint_command(const std::string& verb, const std::vector<std::string>& paths) {
  if (verb == "diff") {
    if (paths.size() != 2) throw Error(ExitCode::config, "checkpoint diff takes two checkpoints");
    return differences(checkpoint_of(paths[0]), checkpoint_of(paths[1]));
  }
  if (paths.size() != 1) throw Error(ExitCode::config, "checkpoint " + verb + " takes one path");
  if (verb == "list") return list(paths[0]);
  if (verb == "verify") return verify(paths[0]);
  const std::filesystem::path checkpoint = checkpoint_of(paths[0]);
  if (verb == "index") {
    write_index(checkpoint);
    fmt::print("{}\n", (checkpoint / "index.h5").string());
    return 0;
  }
  fmt::print("{}", describe_checkpoint(checkpoint));
  return 0;
}

}  // namespace drover
