#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

#include <cstring>

namespace drover::cpu {

namespace {

constexpr int64_t kByteGrain = 64 * 1024;

template <class To, class From> void convert(To* to, const From* from, int64_t count) {
  simd_elements(
      count, [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) store(to + i, load(from + i));
      });
}

}  // namespace

void fill_zero(TensorView y) {
  parallel_for(y.bytes(), kByteGrain,
               [&](int64_t begin, int64_t end) { std::memset(y.data + begin, 0, static_cast<size_t>(end - begin)); });
}

void copy(TensorView y, ConstTensorView x) {
  parallel_for(y.bytes(), kByteGrain,
               [&](int64_t begin, int64_t end) { std::memcpy(y.data + begin, x.data + begin, static_cast<size_t>(end - begin)); });
}

void cast(TensorView y, ConstTensorView x) {
  if (y.dtype == x.dtype) return copy(y, x);
  if (y.dtype == DType::bf16) return convert(y.as<Bf16>(), x.as<float>(), y.count());
  convert(y.as<float>(), x.as<Bf16>(), y.count());
}

void add(TensorView y, ConstTensorView a, ConstTensorView b) {
  by_float_type(y.dtype, "add", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* sum = y.as<T>();
    const T *left = a.as<T>(), *right = b.as<T>();
    simd_elements(
        y.count(), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
#pragma omp simd
          for (int64_t i = begin; i < end; ++i) store(sum + i, load(left + i) + load(right + i));
        });
  });
}

void bias_forward(TensorView y, ConstTensorView bias) {
  by_float_type(y.dtype, "bias_forward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    T* rows = y.as<T>();
    const T* offset = bias.as<T>();
    const int64_t columns = y.shape[1];
    simd_for(
        y.shape[0], row_grain(columns), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t t = begin; t < end; ++t) {
            T* row = rows + t * columns;
#pragma omp simd
            for (int64_t j = 0; j < columns; ++j) store(row + j, load(row + j) + load(offset + j));
          }
        });
  });
}

void bias_backward(TensorView dbias, ConstTensorView dy) {
  by_float_type(dy.dtype, "bias_backward", [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    constexpr int64_t kStrip = 64;  // columns summed in registers
    float* gradient = dbias.as<float>();
    const T* upstream = dy.as<T>();
    const int64_t tokens = dy.shape[0], columns = dy.shape[1], strips = (columns + kStrip - 1) / kStrip;
    simd_for(
        strips, row_grain(tokens * kStrip), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
          for (int64_t strip = begin; strip < end; ++strip) {
            const int64_t from = strip * kStrip, width = std::min(kStrip, columns - from);
            float sums[kStrip] = {};
            for (int64_t t = 0; t < tokens; ++t) {
              const T* row = upstream + t * columns + from;
#pragma omp simd
              for (int64_t j = 0; j < width; ++j) sums[j] += load(row + j);
            }
            for (int64_t j = 0; j < width; ++j) gradient[from + j] += sums[j];
          }
        });
  });
}

}  // namespace drover::cpu
