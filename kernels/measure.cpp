#include "kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/arena.h"
#include "kernels/base/philox.h"
#include "kernels/base/threads.h"
#include "kernels/cuda/device.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/gpu_clock.h"
#include "kernels/transfer.h"

namespace drover {
namespace {

constexpr int64_t kOnCpu = 768, kSmallestOnGpu = 256;
constexpr double kLongEnough = 0.5e-3;  // seconds, beside which those of a launch are few

// A square product and its operands.
class Product {
 public:
  Product(Stream& stream, DType dtype, int64_t size)
      : stream_(stream), scratch_bytes_(gemm_scratch_bytes(dtype, size, size, size, threads(), stream.device())),
        arena_(2 * size * size * size_of(dtype) + size * size * size_of(DType::f32) + scratch_bytes_ + 4 * Arena::kAlignment,
               stream.device()),
        a_(arena_.carve("measure", "a", dtype, {size, size})), b_(arena_.carve("measure", "b", dtype, {size, size})),
        c_(arena_.carve("measure", "c", DType::f32, {size, size})),
        scratch_(arena_.carve("measure", "scratch", DType::u8, {scratch_bytes_})) {
    fill_random(stream, a_, 1);
    fill_random(stream, b_, 2);
  }

  double seconds(int repetitions) {
    const double all = seconds_of(stream_, [&] {
      for (int i = 0; i < repetitions; ++i) gemm(stream_, c_, a_, false, b_, true, 0, scratch_);
    });
    return all / repetitions;
  }

 private:
  Stream& stream_;
  int64_t scratch_bytes_;
  Arena arena_;
  TensorView a_, b_, c_, scratch_;
};

int64_t product_size(Stream& stream, DType dtype, int64_t largest) {
  if (stream.device().type == DeviceType::cpu) return kOnCpu;
  for (int64_t size = kSmallestOnGpu;; size *= 2) {
    Product product(stream, dtype, size);
    product.seconds(1);  // which opens the library
    if (size >= largest || product.seconds(1) >= kLongEnough) return size;
  }
}

double best_copy_rate(int64_t bytes, const std::function<double()>& seconds) {
  constexpr int kRepetitions = 8;
  double best = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition)
    best = std::max(best, 2.0 * static_cast<double>(bytes) / seconds());
  return best;
}

double gpu_copy_rate(Stream& stream, int64_t bytes) {
  Arena arena(2 * bytes, stream.device());
  const TensorView from = arena.carve("measure", "from", DType::f32, {bytes / size_of(DType::f32)}),
                   to = arena.carve("measure", "to", DType::f32, from.shape);
  fill_random(stream, from, 1);
  constexpr int kAtOnce = 4;
  return best_copy_rate(bytes, [&] {
    return seconds_of(stream,
                      [&] {
                        for (int i = 0; i < kAtOnce; ++i) copy(stream, to, from);
                      }) /
           kAtOnce;
  });
}

}  // namespace

double seconds_of(Stream& stream, const std::function<void()>& work) {
  double seconds = 0;
  if (stream.gpu() == nullptr) {
    {
      const Timed timed(seconds);
      work();
    }
    return seconds;
  }
  GpuClock clock;
  clock.start(stream.gpu(), seconds);
  work();
  clock.stop();
  clock.collect();
  return seconds;
}

void fill_random(Stream& stream, TensorView tensor, uint64_t seed) {
  constexpr int64_t kBlock = 262'139;  // a prime, so that rows differ
  const int64_t block = std::min(kBlock, tensor.count());
  std::vector<float> wide(static_cast<size_t>(block));
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<float>(normal(seed, 0, i));
  std::vector<Bf16> narrow;
  if (tensor.dtype == DType::bf16)
    for (const float value : wide) narrow.emplace_back(value);
  const void* source = narrow.empty() ? static_cast<const void*>(wide.data()) : narrow.data();
  const TensorView flat = tensor.reshape({tensor.count()});
  upload(stream, flat.slice(0, {block}), source);
  for (int64_t filled = block; filled < tensor.count(); filled *= 2) {
    const Shape next{std::min(filled, tensor.count() - filled)};
    copy(stream, flat.slice(filled, next), flat.slice(0, next));
  }
}

double measure_gemm_rate(Stream& stream, DType dtype, int64_t largest) {
  const int64_t size = product_size(stream, dtype, largest);
  Product product(stream, dtype, size);
  const int at_once = stream.gpu() == nullptr ? 1 : 4;
  // Long enough for the threads to have found their cores, and the cores their clock. The median, as a step's time is one.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  std::vector<double> seconds;
  while (seconds.size() < 9 || std::chrono::steady_clock::now() < end) seconds.push_back(product.seconds(at_once));
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<int64_t>(seconds.size() / 2), seconds.end());
  return 2.0 * static_cast<double>(size * size * size) / seconds[seconds.size() / 2];
}

double measure_copy_rate(Stream& stream) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  if (stream.gpu() != nullptr) {
    constexpr int64_t kCaches = 8;  // no part of a buffer is still in the cache when its turn comes again
    return gpu_copy_rate(stream, std::max(kBytes, kCaches * cuda::cache_bytes(stream.device().index)));
  }
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  return best_copy_rate(kBytes, [&] {
    return seconds_of(stream, [&] {
      parallel_for(kBytes, 1 << 16, [&](int64_t first, int64_t last) {
        std::memcpy(to.data() + first, from.data() + first, static_cast<size_t>(last - first));
      });
    });
  });
}

}  // namespace drover
