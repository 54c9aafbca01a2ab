// A thread fills one half of the buffers while the step reads the other.
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "data/dataset.h"

namespace drover {

using Clock = std::chrono::steady_clock;

struct Loader::Impl {
  Impl(const TokenDataset& data, const Options& run_options, std::vector<Batch> all)
      : dataset(data), options(run_options), buffers(std::move(all)), thread([this] { work(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    thread.join();
  }

  int half_size() const { return static_cast<int>(buffers.size() / 2); }

  // Sample of one slot; -1: past the end of the data.
  int64_t sample(int64_t slot) const {
    if (options.shuffle) return sample_at(options.seed, slot, dataset.samples());
    return slot < dataset.samples() ? slot : -1;
  }

  void fill(int64_t consumed, int half) {
    const int64_t mine = options.global_batch / options.dp_size, first = consumed + options.dp_rank * mine;
    for (int64_t slot = 0; slot < mine; ++slot) {
      const Batch& batch = buffers[static_cast<size_t>(half * half_size() + slot / options.micro_batch)];
      const int64_t row = slot % options.micro_batch, index = sample(first + slot);
      dataset.read(std::max<int64_t>(index, 0), options.document_mask, batch, row, options.max_documents);
      if (index < 0) std::fill_n(batch.weight.as<float>() + row * options.sequence, options.sequence, 0.0f);
    }
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return stop || wanted != made; });
      if (stop) return;
      const int64_t consumed = wanted;
      const int half = wanted_half;
      lock.unlock();
      std::exception_ptr failure;
      try {
        fill(consumed, half);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      made = consumed;
      error = failure;
      changed.notify_all();
    }
  }

  void request(int64_t consumed, int half) {
    wanted = consumed;
    wanted_half = half;
    changed.notify_all();
  }

  bool wait(std::unique_lock<std::mutex>& lock, int64_t consumed, double seconds) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    if (wanted != consumed) {  // the first step, or a jump: let a running fill end before its half is used again
      if (!changed.wait_until(lock, end, [this] { return made == wanted; })) return false;
      request(consumed, 1 - given);
    }
    return changed.wait_until(lock, end, [&] { return made == consumed; });
  }

  std::vector<Batch> next(int64_t consumed) {
    std::unique_lock lock(mutex);
    while (!wait(lock, consumed, 3600)) {
    }
    if (error) std::rethrow_exception(error);
    given = wanted_half;
    request(consumed + options.global_batch, 1 - given);
    return half(given);
  }

  std::vector<Batch> half(int which) const {
    const auto begin = buffers.begin() + which * half_size();
    return {begin, begin + half_size()};
  }

  const TokenDataset& dataset;
  const Options options;
  std::vector<Batch> buffers;
  mutable std::mutex mutex;
  std::condition_variable changed;
  int64_t wanted = -1, made = -1;  // samples consumed before the batch that is asked for, and before the last one filled
  int wanted_half = 0, given = 1;  // halves: to be filled, and that the caller has
  std::exception_ptr error;
  bool stop = false;
  std::thread thread;  // last: it uses all of the above
};

Loader::Loader(const TokenDataset& dataset, const Options& options, std::vector<Batch> buffers)
    : impl_(std::make_unique<Impl>(dataset, options, std::move(buffers))) {}
Loader::~Loader() = default;

bool Loader::wait(int64_t consumed, double seconds) {
  std::unique_lock lock(impl_->mutex);
  return impl_->wait(lock, consumed, seconds);
}
std::vector<Batch> Loader::next(int64_t consumed) { return impl_->next(consumed); }
std::vector<Batch> Loader::stale() const { return impl_->half(impl_->given); }
bool Loader::reading() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->made != impl_->wanted;
}

}  // namespace drover
