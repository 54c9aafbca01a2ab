#include "kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/arena.h"
#include "kernels/base/threads.h"
#include "kernels/gemm.h"

namespace drover {

double measure_gemm_rate(Stream& stream, DType dtype) {
  constexpr int64_t kSize = 768;
  const Shape shape{kSize, kSize};
  const int64_t scratch_bytes = gemm_scratch_bytes(dtype, kSize, kSize, kSize, threads(), stream.device());
  Arena arena(2 * kSize * kSize * size_of(dtype) + kSize * kSize * size_of(DType::f32) + scratch_bytes + 4 * Arena::kAlignment,
              stream.device());
  const auto carve = [&](const char* name, DType type, const Shape& of) { return arena.carve("measure", name, type, of); };
  const TensorView a = carve("a", dtype, shape), b = carve("b", dtype, shape), c = carve("c", DType::f32, shape),
                   scratch = carve("scratch", DType::u8, {scratch_bytes});
  // Long enough for the threads to have found their cores, and the cores their clock. The median, as a step's time is one.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  std::vector<double> seconds;
  while (seconds.size() < 9 || std::chrono::steady_clock::now() < end) {
    const auto begin = std::chrono::steady_clock::now();
    gemm(stream, c, a, false, b, true, 0, scratch);
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
