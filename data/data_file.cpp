#include "data/data_file.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/base/host.h"

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;

constexpr rlim_t kLeft = 256;  // descriptors, for sockets, checkpoints and logs

// Every shard keeps a descriptor: as many may be open as the system grants at all, not as it grants at first.
void leave_descriptors(const std::filesystem::path& path, int descriptor) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
      static_cast<rlim_t>(descriptor) + std::min(kLeft, limit.rlim_max / 2) < limit.rlim_cur)
    return;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = std::min(limit.rlim_max, 2 * limit.rlim_cur);
  if (limit.rlim_cur == before || setrlimit(RLIMIT_NOFILE, &limit) != 0)
    throw Error(ExitCode::data,
                fmt::format("cannot open {}: each token shard takes a file descriptor of the {} that this process may "
                            "have; raise the limit (ulimit -Hn), or make fewer shards (drover prepare --shard-tokens)",
                            path.string(), before));
}

std::shared_ptr<const File> open(const std::filesystem::path& path) {
  auto file = std::make_shared<const File>(File::open_read(path));
  leave_descriptors(path, file->descriptor());
  return file;
}

}  // namespace

DataFile::DataFile(std::filesystem::path path, Patience patience)
    : path_(std::move(path)), patience_(patience), mutex_(std::make_unique<std::mutex>()) {
  try {
    std::error_code unknown;
    const auto kind = std::filesystem::status(path_, unknown);
    if (std::filesystem::exists(kind) && !std::filesystem::is_regular_file(kind))  // opening a pipe would wait
      throw Error(ExitCode::data, fmt::format("cannot read {}: it is no file", path_.string()));
    file_ = open(path_);
    struct stat status {};
    if (::fstat(file_->descriptor(), &status) == 0) {
      size_ = status.st_size;
      modified_ = status.st_mtim.tv_sec * int64_t{1000000000} + status.st_mtim.tv_nsec;
    }
  } catch (const Error& error) {
    throw Error(ExitCode::data, error.what());
  }
}

std::shared_ptr<const File> DataFile::file() const {
  const std::lock_guard lock(*mutex_);
  if (!file_) file_ = open(path_);
  return file_;
}

void DataFile::read_at(int64_t offset, void* data, size_t bytes) const {
  std::optional<Clock::time_point> begin;  // of the first failure
  auto pause = std::chrono::duration<double>(patience_.first_pause);
  for (int attempt = 1;; ++attempt) {
    try {
      file()->read_at(offset, data, bytes);
      return;
    } catch (const Error& error) {
      if (!begin) begin = Clock::now();
      if (attempt == patience_.tries)
        throw Error(
            ExitCode::data,
            fmt::format("{} (bytes {} to {}, on host {}, tried {} times in {:.1f} s); see whether its file system is there, then "
                        "resume",
                        error.what(), offset, offset + static_cast<int64_t>(bytes), host_name(), attempt,
                        std::chrono::duration<double>(Clock::now() - *begin).count()));
    }
    std::this_thread::sleep_for(pause);
    pause *= 2;
    const std::lock_guard lock(*mutex_);
    file_.reset();  // after a lost connection a descriptor may stay useless
  }
}

}  // namespace drover
