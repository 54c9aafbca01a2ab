#include "trainer/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "configs/load.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

void require_space(const std::filesystem::path& path, int64_t needed) {
  const int64_t free = free_space(path);
  if (free >= 0 && free < needed)
    throw Error(
        ExitCode::storage,
        fmt::format("run directory {}: one checkpoint needs about {:.1f} MB, {:.1f} MB are free; free some space or set run.dir",
                    path.string(), static_cast<double>(needed) / 1e6, static_cast<double>(free) / 1e6));
}

// What an earlier run, perhaps of somebody else, left: found now, not at the first save.
void require_writable(const std::filesystem::path& path) {
  if (access(path.c_str(), W_OK) == 0 || errno == ENOENT) return;
  throw Error(ExitCode::storage, fmt::format("{} cannot be written: {}; make it writable for this user, or set run.dir to another "
                                             "directory",
                                             path.string(), std::strerror(errno)));
}

}  // namespace

void require_run(const std::filesystem::path& path) {
  std::error_code error;
  const bool found = std::filesystem::exists(path / "config.yaml", error);
  if (error) throw Error(ExitCode::resume, fmt::format("run {} cannot be read: {}", path.string(), error.message()));
  if (!found)
    throw Error(ExitCode::resume, fmt::format("{} holds no run: there is no {}; name the run.dir of a run that was started",
                                              path.string(), (path / "config.yaml").string()));
}

Config config_of_run(const std::filesystem::path& path) {
  require_run(path);
  const std::filesystem::path file = path / "config.yaml";
  try {
    const LoadedConfig loaded = load_config_text(read_text(file), file.string(), {});
    if (loaded.violations.empty()) return loaded.config;
    const Violation& first = loaded.violations.front();
    throw Error(ExitCode::resume, fmt::format("{}: {}", first.where, first.message));
  } catch (const Error& failure) {
    throw Error(ExitCode::resume, fmt::format("the configuration of run {} is damaged, or of another version of Drover: {}",
                                              path.string(), failure.what()));
  }
}

bool in_use(const std::filesystem::path& path) {
  const int descriptor = open((path / "lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const File lock = File::adopt(descriptor, path / "lock");
  return flock(descriptor, LOCK_SH | LOCK_NB) != 0;
}

RunDirectory::RunDirectory(std::filesystem::path path, int64_t bytes_needed) : path_(std::move(path)) {
  try {
    make_directories(path_);
  } catch (const Error& error) {
    throw Error(ExitCode::storage,
                fmt::format("run directory {} cannot be made: {}; set run.dir to a directory that can be written", path_.string(),
                            error.what()));
  }
  const auto lock = path_ / "lock";
  try {
    lock_ = lock_file(lock);
  } catch (const Error& error) {
    throw Error(ExitCode::storage,
                fmt::format("run directory {} cannot be written: {}; set run.dir to a directory that can be written",
                            path_.string(), error.what()));
  }
  if (!lock_)
    throw Error(ExitCode::resume,
                fmt::format("run directory {} is in use by another run ({}); stop that one, or set run.dir to another directory",
                            path_.string(), read_text(lock)));
  for (const char* name : {"checkpoints", "config.yaml", "metrics.jsonl", "history.jsonl", "log.txt"})
    require_writable(path_ / name);
  require_space(path_, bytes_needed);
}

bool RunDirectory::holds_run() const {
  const auto holds = [](const std::filesystem::path& path) {
    std::error_code missing;
    return std::filesystem::exists(path) && !std::filesystem::is_empty(path, missing);
  };
  return holds(path_ / "checkpoints") || holds(metrics());
}

std::string RunDirectory::config() const {
  return std::filesystem::exists(path_ / "config.yaml") ? read_text(path_ / "config.yaml") : "";
}

void RunDirectory::write_config(const std::string& yaml) const { write_durably(path_ / "config.yaml", yaml); }

void RunDirectory::write_products(const std::string& json) const {
  const std::filesystem::path file = path_ / "products.json";
  if (!json.empty()) return write_durably(file, json);
  std::filesystem::remove(file);
}

}  // namespace drover
