// Rows of f32 where they lie; rows of bf16 in chunks that are widened first and rounded back as whole vectors, which leaves the arithmetic
// between them to vectors of f32.
#include "kernels/cpu/ops.h"

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {

namespace {

constexpr int64_t kChunk = 256;

[[gnu::always_inline]] inline void widen(float* to, const Bf16* from, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) to[i] = load(from + i);
}

[[gnu::always_inline]] inline void forward_row(float* y, const float* gate, const float* up, int64_t count) {
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) y[j] = gate[j] * sigmoid_f32(gate[j]) * up[j];
}

[[gnu::always_inline]] inline void forward_row(Bf16* y, const Bf16* gate, const Bf16* up, int64_t count) {
  alignas(64) float wide_gate[kChunk], wide_up[kChunk], wide_y[kChunk];
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t length = std::min(kChunk, count - begin);
    widen(wide_gate, gate + begin, length);
    widen(wide_up, up + begin, length);
    forward_row(wide_y, wide_gate, wide_up, length);
    narrow(y + begin, wide_y, length);
  }
}

template <class T> struct Gradients { T *dgate, *dup, *y; };

[[gnu::always_inline]] inline void backward_row(const Gradients<float>& to, const float* dy, const float* gate, const float* up,
                                                int64_t count) {
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) {
    const float g = gate[j], u = up[j], d = dy[j];
    const float sigmoid = sigmoid_f32(g), silu = g * sigmoid;
    to.y[j] = silu * u;
    to.dgate[j] = d * u * sigmoid * (1.0f + g * (1.0f - sigmoid));
    to.dup[j] = d * silu;
  }
}

[[gnu::always_inline]] inline void backward_row(const Gradients<Bf16>& to, const Bf16* dy, const Bf16* gate, const Bf16* up,
                                                int64_t count) {
  alignas(64) float wide_dy[kChunk], wide_gate[kChunk], wide_up[kChunk], dgate[kChunk], dup[kChunk], y[kChunk];
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t length = std::min(kChunk, count - begin);
    widen(wide_dy, dy + begin, length);
    widen(wide_gate, gate + begin, length);
    widen(wide_up, up + begin, length);
    backward_row(Gradients<float>{dgate, dup, y}, wide_dy, wide_gate, wide_up, length);
    narrow(to.dgate + begin, dgate, length);
    narrow(to.dup + begin, dup, length);
    narrow(to.y + begin, y, length);
  }
}

}  // namespace

void swiglu_forward(TensorView y, ConstTensorView gate_up) {
  by_float_type(y.dtype, "swiglu_forward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* out = y.as<T>();
    const T* in = gate_up.as<T>();
    const int64_t ffn = y.shape[1];
    simd_for(
        y.shape[0], row_grain(ffn), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            const T* gate = in + t * 2 * ffn;
            forward_row(out + t * ffn, gate, gate + ffn, ffn);
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
            T* dgate = gradient + t * 2 * ffn;
            const T* gate = in + t * 2 * ffn;
            backward_row(Gradients<T>{dgate, dgate + ffn, out + t * ffn}, upstream + t * ffn, gate, gate + ffn, ffn);
          }
        });
  });
}

}  // namespace drover::cpu
