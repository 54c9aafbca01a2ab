// A thread fills one half of the buffers while the step reads the other.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "data/dataset.h"
#include "data/mixture.h"

namespace drover {

using Clock = std::chrono::steady_clock;

struct Loader::Impl {
  Impl(const TokenDataset* data, const Mixture* mixed, const Options& run_options, std::vector<Batch> all)
      : dataset(data), mixture(mixed), options(run_options), buffers(std::move(all)), thread([this] { work(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    thread.join();
  }

  int half_size() const { return static_cast<int>(buffers.size() / 2); }

  // Of a validation set; -1: past its end.
  int64_t sample(int64_t slot) const {
    if (options.shuffle) return sample_at(options.seed, slot, dataset->samples());
    return slot < dataset->samples() ? slot : -1;
  }

  void read(int64_t consumed, int64_t slot, const Batch& batch, int64_t row) const {
    if (mixture == nullptr) {
      const int64_t index = sample(consumed + slot);
      dataset->read(std::max<int64_t>(index, 0), options.document_mask, batch, row, options.max_documents);
      if (index < 0) std::fill_n(batch.weight.as<float>() + row * options.sequence, options.sequence, 0.0f);
    } else if (const int64_t index = mixture->order().nth(consumed, slot); index < end_of_step(consumed)) {
      mixture->read(index, options.document_mask, batch, row, options.max_documents);
    } else {
      for (const TensorView& view : {batch.token, batch.target, batch.position, batch.document_begin})
        std::fill_n(view.as<int32_t>() + row * options.sequence, options.sequence, 0);
      std::fill_n(batch.weight.as<float>() + row * options.sequence, options.sequence, 0.0f);
    }
  }

  void weigh(const Batch& batch, int64_t row) const {
    const int32_t* target = batch.target.as<int32_t>() + row * options.sequence;
    float* weight = batch.weight.as<float>() + row * options.sequence;
    for (const LossWeight& of : options.loss_weights)
      for (int64_t i = 0; i < options.sequence; ++i)
        if (of.range.contains(target[i])) weight[i] *= of.weight;
  }

  // The first sample after `consumed` that no slot of its step may hold.
  int64_t end_of_step(int64_t consumed) const {
    const SampleOrder& order = mixture->order();
    const int64_t first = order.nth(consumed, 0);
    return order.sequence_at(first) == options.sequence ? order.sequence_end(first) : 0;
  }

  int64_t after(int64_t consumed) const {
    return mixture == nullptr ? consumed + options.global_batch : mixture->order().after_step(consumed, options.global_batch);
  }

  void fill(int64_t consumed, int half) {
    const int64_t mine = options.global_batch / options.dp_size, first = options.dp_rank * mine;
    for (int64_t slot = 0; slot < mine; ++slot) {
      const Batch& batch = buffers[static_cast<size_t>(half * half_size() + slot / options.micro_batch)];
      read(consumed, first + slot, batch, slot % options.micro_batch);
      weigh(batch, slot % options.micro_batch);
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
    request(after(consumed), 1 - given);
    return half(given);
  }

  std::vector<Batch> half(int which) const {
    const auto begin = buffers.begin() + which * half_size();
    return {begin, begin + half_size()};
  }

  const TokenDataset* dataset;  // one of the two
  const Mixture* mixture;
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
    : impl_(std::make_unique<Impl>(&dataset, nullptr, options, std::move(buffers))) {}
Loader::Loader(const Mixture& mixture, const Options& options, std::vector<Batch> buffers)
    : impl_(std::make_unique<Impl>(nullptr, &mixture, options, std::move(buffers))) {}
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
