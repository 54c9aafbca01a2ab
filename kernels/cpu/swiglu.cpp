#include "kernels/cpu/ops.h"

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {

void swiglu_forward(TensorView y, ConstTensorView gate_up) {
  by_float_type(y.dtype, "swiglu_forward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* out = y.as<T>();
    const T* in = gate_up.as<T>();
    const int64_t ffn = y.shape[1];
    simd_for(
        y.shape[0], row_grain(ffn), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            T* y_row = out + t * ffn;
            const T *gate = in + t * 2 * ffn, *up = gate + ffn;
#pragma omp simd
            for (int64_t j = 0; j < ffn; ++j) {
              const float g = load(gate + j);
              store(y_row + j, g * sigmoid_f32(g) * load(up + j));
            }
          }
        });
  });
}

void swiglu_backward(TensorView dgate_up, TensorView y, ConstTensorView dy, ConstTensorView gate_up) {
  by_float_type(y.dtype, "swiglu_backward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T *out = y.as<T>(), *gradient = dgate_up.as<T>();
    const T *upstream = dy.as<T>(), *in = gate_up.as<T>();
    const int64_t ffn = y.shape[1];
    simd_for(
        y.shape[0], row_grain(ffn), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            T *y_row = out + t * ffn, *dgate = gradient + t * 2 * ffn, *dup = dgate + ffn;
            const T *dy_row = upstream + t * ffn, *gate = in + t * 2 * ffn, *up = gate + ffn;
#pragma omp simd
            for (int64_t j = 0; j < ffn; ++j) {
              const float g = load(gate + j), u = load(up + j), d = load(dy_row + j);
              const float sigmoid = sigmoid_f32(g), silu = g * sigmoid;
              store(y_row + j, silu * u);
              store(dgate + j, d * u * sigmoid * (1.0f + g * (1.0f - sigmoid)));
              store(dup + j, d * silu);
            }
          }
        });
  });
}

}  // namespace drover::cpu
