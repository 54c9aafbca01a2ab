#include "kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/base/threads.h"
#include "kernels/gemm.h"

namespace drover {

double measure_gemm_rate(Stream& stream, DType dtype) {
  constexpr int64_t kSize = 768;
  const Shape shape{kSize, kSize};
  std::vector<std::byte> a(static_cast<size_t>(kSize * kSize * size_of(dtype))), b(a.size()),
      c(static_cast<size_t>(kSize * kSize * 4));
  std::vector<std::byte> scratch(static_cast<size_t>(gemm_scratch_bytes(dtype, kSize, kSize, kSize, threads())));
  const auto view = [](std::vector<std::byte>& memory, DType type, const Shape& of) {
    return TensorView{memory.data(), type, {}, of};
  };
  // Long enough for the threads to have found their cores, and the cores their clock. The median, as a step's time is one.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  std::vector<double> seconds;
  while (seconds.size() < 9 || std::chrono::steady_clock::now() < end) {
    const auto begin = std::chrono::steady_clock::now();
    gemm(stream, view(c, DType::f32, shape), view(a, dtype, shape), false, view(b, dtype, shape), true, 0,
         view(scratch, DType::u8, {static_cast<int64_t>(scratch.size())}));
    stream.synchronize();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<int64_t>(seconds.size() / 2), seconds.end());
  return 2.0 * kSize * kSize * kSize / seconds[seconds.size() / 2];
}

double measure_copy_rate() {
  constexpr int64_t kBytes = int64_t{64} << 20;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  double best = 0;
  for (int repetition = 0; repetition < 8; ++repetition) {
    const auto begin = std::chrono::steady_clock::now();
    parallel_for(kBytes, 1 << 16, [&](int64_t first, int64_t last) {
      std::memcpy(to.data() + first, from.data() + first, static_cast<size_t>(last - first));
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * kBytes / seconds.count());
  }
  return best;
}

}  // namespace drover
