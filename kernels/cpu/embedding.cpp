// Forward gathers rows, a thread a range of tokens. Backward scatters: a thread a range of columns, so that no two threads add to
// one element and each element's additions come in the order of tokens.
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

#include <cstring>

namespace drover::cpu {

void embedding_forward(TensorView y, ConstTensorView tokens, ConstTensorView weight, int64_t first) {
  const int64_t rows = weight.shape[0], hidden = weight.shape[1];
  const size_t row_bytes = static_cast<size_t>(hidden * size_of(weight.dtype));
  const int32_t* token = tokens.as<int32_t>();
  parallel_for(tokens.count(), row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t row = token[t] - first;
      std::byte* to = y.data + static_cast<size_t>(t) * row_bytes;
      if (row >= 0 && row < rows)
        std::memcpy(to, weight.data + static_cast<size_t>(row) * row_bytes, row_bytes);
      else
        std::memset(to, 0, row_bytes);
    }
  });
}

void embedding_backward(TensorView dweight, ConstTensorView dy, ConstTensorView tokens, int64_t first) {
  by_float_type(dy.dtype, "embedding_backward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    float* gradient = dweight.as<float>();
    const T* upstream = dy.as<T>();
    const int32_t* token = tokens.as<int32_t>();
    const int64_t rows = dweight.shape[0], hidden = dweight.shape[1], count = tokens.count();
    simd_for(
        hidden, std::max<int64_t>(64, row_grain(count)), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = 0; t < count; ++t) {
            const int64_t row = token[t] - first;
            if (row < 0 || row >= rows) continue;
            float* to = gradient + row * hidden;
            const T* from = upstream + t * hidden;
#pragma omp simd
            for (int64_t i = begin; i < end; ++i) to[i] += load(from + i);
          }
        });
  });
}

}  // namespace drover::cpu
