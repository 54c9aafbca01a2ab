// Rotates the q and k heads of one token after the other, in place; `sign` is 1 forward and -1 backward.
#include "kernels/cpu/ops.h"

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {

namespace {

template <class T>
[[gnu::always_inline]] inline void rotate_head(T* head, const float* cosine, const float* sine, int64_t half, float sign) {
#pragma omp simd
  for (int64_t j = 0; j < half; ++j) {
    const float low = load(head + j), high = load(head + half + j);
    const float c = cosine[j], s = sign * sine[j];
    store(head + j, low * c - high * s);
    store(head + half + j, high * c + low * s);
  }
}

}  // namespace

void rope(TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine, int64_t kv_heads, float sign) {
  by_float_type(qkv.dtype, "rope", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* rows = qkv.as<T>();
    const int32_t* position = positions.as<int32_t>();
    const float *cosines = cosine.as<float>(), *sines = sine.as<float>();
    const int64_t head_dim = qkv.shape[2], half = head_dim / 2, row = qkv.shape[1] * head_dim;
    const int64_t rotated = qkv.shape[1] - kv_heads, table_rows = cosine.shape[0];
    simd_for(
        qkv.shape[0], row_grain(row), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            DROVER_CHECK(position[t] >= 0 && position[t] < table_rows, "rope: position " + std::to_string(position[t]));
            const int64_t at = position[t] * half;
            for (int64_t head = 0; head < rotated; ++head)
              rotate_head(rows + t * row + head * head_dim, cosines + at, sines + at, half, sign);
          }
        });
  });
}

}  // namespace drover::cpu
