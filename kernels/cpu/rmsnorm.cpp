// One pass for the sum of squares, one for the result, a row at a time while it is in cache.
#include "kernels/cpu/ops.h"

#include <cmath>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {

namespace {

template <class T> [[gnu::always_inline]] inline float normalize_row(T* y, const T* x, const T* weight, int64_t hidden, float eps) {
  const float squares = lane_sum<float>(
      hidden, [&](int64_t i) __attribute__((always_inline)) { return load(x + i) * load(x + i); });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(hidden) + eps);
#pragma omp simd
  for (int64_t i = 0; i < hidden; ++i) store(y + i, load(x + i) * rstd * load(weight + i));
  return rstd;
}

template <class T> struct Backward {
  T* dx;
  const T *dy, *x, *weight;
  const float* rstd;
  int64_t hidden;
  bool accumulate;

  // dx of row t, and its part of dweight added to `partial`.
  [[gnu::always_inline]] inline void row(int64_t t, float* partial) const {
    T* dx_row = dx + t * hidden;
    const T *dy_row = dy + t * hidden, *x_row = x + t * hidden;
    const float scale = rstd[t];
    const float dot = lane_sum<float>(
        hidden, [&](int64_t i) __attribute__((always_inline)) { return load(weight + i) * load(dy_row + i) * load(x_row + i); });
    const float shrink = scale * scale * (dot / static_cast<float>(hidden));
    if (accumulate) {  // NOLINT(bugprone-branch-clone): it does not see into the loops below a pragma
#pragma omp simd
      for (int64_t i = 0; i < hidden; ++i) store(dx_row + i, load(dx_row + i) + element(partial, i, dy_row, x_row, scale, shrink));
    } else {
#pragma omp simd
      for (int64_t i = 0; i < hidden; ++i) store(dx_row + i, element(partial, i, dy_row, x_row, scale, shrink));
    }
  }

  [[gnu::always_inline]] inline float element(float* partial, int64_t i, const T* dy_row, const T* x_row, float scale,
                                              float shrink) const {
    const float upstream = load(dy_row + i), value = load(x_row + i);
    partial[i] += upstream * value * scale;
    return scale * (load(weight + i) * upstream - value * shrink);
  }
};

template <class T> void backward(const Backward<T>& work, int64_t tokens, float* dweight, float* partials) {
  if (tokens == 0) return;
  const int64_t hidden = work.hidden, blocks = std::min(tokens, kNormPartials);
  simd_for(
      blocks, row_grain(tokens * hidden / blocks), [&](int64_t first, int64_t last) __attribute__((always_inline)) {
        for (int64_t block = first; block < last; ++block) {
          float* partial = partials + block * hidden;
          std::fill_n(partial, hidden, 0.0f);
          for (int64_t t = tokens * block / blocks; t < tokens * (block + 1) / blocks; ++t) work.row(t, partial);
        }
      });
  simd_for(
      hidden, 256, [&](int64_t begin, int64_t end) __attribute__((always_inline)) {
        for (int64_t block = 1; block < blocks; ++block) {
          const float* partial = partials + block * hidden;
#pragma omp simd
          for (int64_t i = begin; i < end; ++i) partials[i] += partial[i];
        }
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) dweight[i] += partials[i];
      });
}

}  // namespace

void rmsnorm_forward(TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight, float eps) {
  by_float_type(x.dtype, "rmsnorm_forward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* out = y.as<T>();
    float* scale = rstd.as<float>();
    const T *in = x.as<T>(), *w = weight.as<T>();
    const int64_t hidden = x.shape[1];
    simd_for(
        x.shape[0], row_grain(hidden), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) scale[t] = normalize_row(out + t * hidden, in + t * hidden, w, hidden, eps);
        });
  });
}

void add_rmsnorm_forward(TensorView sum, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView residual,
                         ConstTensorView weight, float eps) {
  by_float_type(x.dtype, "add_rmsnorm_forward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T *total = sum.as<T>(), *out = y.as<T>();
    float* scale = rstd.as<float>();
    const T *a = x.as<T>(), *b = residual.as<T>(), *w = weight.as<T>();
    const int64_t hidden = x.shape[1];
    simd_for(
        x.shape[0], row_grain(hidden), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            T* row = total + t * hidden;
            const T *a_row = a + t * hidden, *b_row = b + t * hidden;
#pragma omp simd
            for (int64_t i = 0; i < hidden; ++i) store(row + i, load(a_row + i) + load(b_row + i));
            scale[t] = normalize_row(out + t * hidden, row, w, hidden, eps);
          }
        });
  });
}

void rmsnorm_backward(TensorView dx, TensorView dweight, ConstTensorView dy, ConstTensorView x, ConstTensorView rstd,
                      ConstTensorView weight, bool accumulate, TensorView scratch) {
  by_float_type(x.dtype, "rmsnorm_backward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const Backward<T> work{dx.as<T>(), dy.as<T>(), x.as<T>(), weight.as<T>(), rstd.as<float>(), x.shape[1], accumulate};
    backward(work, x.shape[0], dweight.as<float>(), scratch.as<float>());
  });
}

}  // namespace drover::cpu
