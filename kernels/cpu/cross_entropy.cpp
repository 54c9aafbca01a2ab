#include "kernels/cpu/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {

void cross_entropy_maximum(TensorView maximum, ConstTensorView logits, const VocabularySlice& slice) {
  by_float_type(logits.dtype, "cross_entropy", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T* z = logits.as<T>();
    float* out = maximum.as<float>();
    const int64_t columns = logits.shape[1], valid = slice.valid;
    simd_for(
        logits.shape[0], row_grain(columns), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            const T* row = z + t * columns;
            float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
            for (int64_t j = 0; j < valid; ++j) top = load(row + j) > top ? load(row + j) : top;
            out[t] = top;
          }
        });
  });
}

void cross_entropy_sums(TensorView sums, ConstTensorView logits, ConstTensorView maximum, ConstTensorView targets,
                        const VocabularySlice& slice) {
  by_float_type(logits.dtype, "cross_entropy", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T* z = logits.as<T>();
    const float* tops = maximum.as<float>();
    const int32_t* ids = targets.as<int32_t>();
    const int64_t tokens = logits.shape[0], columns = logits.shape[1], first = slice.first, valid = slice.valid;
    float *exponentials = sums.as<float>(), *chosen = exponentials + tokens;
    simd_for(
        tokens, row_grain(columns), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            const T* row = z + t * columns;
            const float top = tops[t];
            exponentials[t] = lane_sum<float>(
                valid, [=](int64_t j) __attribute__((always_inline)) { return exp_f32(load(row + j) - top); });
            const int64_t target = ids[t] - first;
            chosen[t] = target >= 0 && target < valid ? load(row + target) : 0.0f;
          }
        });
  });
}

void cross_entropy_loss(TensorView loss_sum, TensorView weight_sum, ConstTensorView maximum, ConstTensorView sums,
                        ConstTensorView weights) {
  const int64_t tokens = maximum.shape[0];
  const float *tops = maximum.as<float>(), *exponentials = sums.as<float>(), *chosen = exponentials + tokens,
              *weight = weights.as<float>();
  double loss = 0, total = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    total += weight[t];
    if (weight[t] != 0.0f) loss += weight[t] * (std::log(static_cast<double>(exponentials[t])) + tops[t] - chosen[t]);
  }
  loss_sum.as<double>()[0] += loss;
  weight_sum.as<double>()[0] += total;
}

void cross_entropy_gradient(TensorView logits, ConstTensorView maximum, ConstTensorView sums, ConstTensorView targets,
                            ConstTensorView weights, const VocabularySlice& slice) {
  by_float_type(logits.dtype, "cross_entropy", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* z = logits.as<T>();
    const float *tops = maximum.as<float>(), *exponentials = sums.as<float>(), *weight = weights.as<float>();
    const int32_t* ids = targets.as<int32_t>();
    const int64_t tokens = logits.shape[0], columns = logits.shape[1], first = slice.first, valid = slice.valid;
    simd_for(
        tokens, row_grain(columns), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            T* row = z + t * columns;
            const float top = tops[t], factor = weight[t] / exponentials[t];
            const int64_t target = ids[t] - first;
            const bool here = target >= 0 && target < valid;
            // The target's gradient is rounded once, from p - 1.
            const float at_target = here ? weight[t] * (exp_f32(load(row + target) - top) / exponentials[t] - 1.0f) : 0.0f;
#pragma omp simd
            for (int64_t j = 0; j < valid; ++j) store(row + j, exp_f32(load(row + j) - top) * factor);
            if (here) store(row + target, at_target);
            for (int64_t j = valid; j < columns; ++j) store(row + j, 0.0f);
          }
        });
  });
}

}  // namespace drover::cpu
