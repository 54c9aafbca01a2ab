#include "data/shard_check.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "kernels/base/error.h"
#include "kernels/base/host.h"

namespace drover {
namespace {

constexpr size_t kBlock = size_t{1} << 16;
constexpr int kLowest = 19;  // of nice(2), which Linux has for each thread

struct Stopped {};

std::chrono::steady_clock::time_point after(std::chrono::steady_clock::time_point begin, double seconds) {
  return begin + std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

struct ShardCheck::State {
  explicit State(const Pace& run_pace) : pace(run_pace) {}

  // Lets the time pass; false when a stop was asked for.
  bool wait_until(std::chrono::steady_clock::time_point time) {
    std::unique_lock lock(mutex);
    return !changed.wait_until(lock, time, [this] { return stop; });
  }

  const Pace pace;
  std::mutex mutex;
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

ShardCheck::ShardCheck(std::vector<std::string> directories, int rank, int ranks, const Pace& pace)
    : state_(std::make_unique<State>(pace)), thread_([this, directories = std::move(directories), rank, ranks] {
        setpriority(PRIO_PROCESS, 0, kLowest);
        work(directories, rank, ranks);
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

void ShardCheck::work(const std::vector<std::string>& directories, int rank, int ranks) const {
  std::exception_ptr found;
  try {
    std::vector<std::filesystem::path> shards;
    several_times([&] {
      shards.clear();
      for (const std::string& directory : directories)
        for (const auto& path : list_shards(directory)) shards.push_back(path);
    });
    for (size_t i = static_cast<size_t>(rank); i < shards.size() && !found; i += static_cast<size_t>(ranks))
      several_times([&] {
        if (const std::string problem = problem_of(shards[i]); !problem.empty())
          found = std::make_exception_ptr(Error(ExitCode::data, problem));
      });
  } catch (const Stopped&) {
  } catch (...) {
    found = std::current_exception();
  }
  const std::lock_guard lock(state_->mutex);
  state_->found = found;
  state_->done = true;
  state_->changed.notify_all();
}

// What cannot be read now may be there in a while, and is no reason to end a run that does not need it yet.
void ShardCheck::several_times(const std::function<void()>& body) const {
  for (int attempt = 1;; ++attempt) {
    try {
      return body();
    } catch (const Error&) {
      if (attempt == state_->pace.tries) throw;
    }
    if (!state_->wait_until(after(std::chrono::steady_clock::now(), state_->pace.pause))) throw Stopped{};
  }
}

std::string ShardCheck::problem_of(const std::filesystem::path& path) const {
  const Shard shard(path);
  auto next = std::chrono::steady_clock::now();
  const auto hash = shard.compute_payload_hash(kBlock, [&](size_t bytes) {
    next = after(next, static_cast<double>(bytes) / state_->pace.bytes_a_second);
    return state_->wait_until(next);
  });
  if (!hash) throw Stopped{};
  if (*hash == shard.header().payload_hash) return "";
  return fmt::format("{} (found by host {} while training)", checksum_problem(shard), host_name());
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
