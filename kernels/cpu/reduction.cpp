// A fixed number of partial sums, added in order, so that the result depends on no thread count.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {

void sum_of_squares(TensorView sum, ConstTensorView x, TensorView scratch) {
  constexpr int64_t kParts = 64;
  double* part_sums = scratch.as<double>();
  const float* values = x.as<float>();
  const int64_t count = x.count();
  const int64_t share = (count + kParts - 1) / kParts;
  simd_for(
      kParts, row_grain(share), [=](int64_t first, int64_t last) __attribute__((always_inline)) {
        for (int64_t part = first; part < last; ++part) {
          const int64_t begin = std::min(count, part * share), end = std::min(count, begin + share);
          part_sums[part] = lane_sum<double>(
              end - begin, [&](int64_t i) __attribute__((always_inline)) {
                const double value = static_cast<double>(values[begin + i]);
                return value * value;
              });
        }
      });
  double total = 0;
  for (int64_t part = 0; part < kParts; ++part) total += part_sums[part];
  *sum.as<double>() += total;
}

}  // namespace drover::cpu
