#include "data/shard_check.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>

#include "kernels/base/error.h"
#include "kernels/base/host.h"

namespace drover {
namespace {

constexpr size_t kBlock = size_t{1} << 16;
constexpr int kLowest = 19;  // of nice(2), which Linux has for each thread

}  // namespace

struct ShardCheck::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr found;
  bool stop = false, done = false;
};

std::string checksum_problem(const Shard& shard) {
  const std::string directory = shard.path().parent_path().string();
  std::string text = shard.path().string() + ": the checksum of tokens and document ends does not match; ";
  if (shard.header().foreign) return text + "its tokens lie in " + shard.tokens_path().string() + ": import that again";
  return text + "remove " + directory + " and prepare it again";
}

ShardCheck::ShardCheck(std::vector<std::string> directories, int rank, int ranks, double bytes_a_second)
    : state_(std::make_unique<State>()), thread_([this, directories = std::move(directories), rank, ranks, bytes_a_second] {
        setpriority(PRIO_PROCESS, 0, kLowest);
        work(directories, rank, ranks, bytes_a_second);
      }) {}

ShardCheck::~ShardCheck() {
  stop(0);
  thread_.join();
}

bool ShardCheck::stop(double seconds) {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  return state_->changed.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return state_->done; });
}

void ShardCheck::work(const std::vector<std::string>& directories, int rank, int ranks, double bytes_a_second) {
  std::exception_ptr found;
  try {
    std::vector<std::filesystem::path> shards;
    for (const std::string& directory : directories)
      for (const auto& path : list_shards(directory)) shards.push_back(path);
    for (size_t i = static_cast<size_t>(rank); i < shards.size(); i += static_cast<size_t>(ranks))
      if (!verify(shards[i], bytes_a_second)) break;
  } catch (...) {
    found = std::current_exception();
  }
  const std::lock_guard lock(state_->mutex);
  state_->found = found;
  state_->done = true;
  state_->changed.notify_all();
}

bool ShardCheck::verify(const std::filesystem::path& path, double bytes_a_second) {
  const Shard shard(path);
  auto next = std::chrono::steady_clock::now();
  const auto hash = shard.compute_payload_hash(kBlock, [&](size_t bytes) {
    next += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double>(static_cast<double>(bytes) / bytes_a_second));
    std::unique_lock lock(state_->mutex);
    return !state_->changed.wait_until(lock, next, [this] { return state_->stop; });
  });
  if (!hash) return false;
  if (*hash != shard.header().payload_hash)
    throw Error(ExitCode::data, fmt::format("{} (found by host {} while training)", checksum_problem(shard), host_name()));
  return true;
}

void ShardCheck::rethrow() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->found) std::rethrow_exception(state_->found);
}
bool ShardCheck::done() const {
  const std::lock_guard lock(state_->mutex);
  return state_->done;
}

}  // namespace drover
