// A block takes a token's row of logits.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kShared = kThreads / kWarp * static_cast<int64_t>(sizeof(double));

// body(first column) for this thread's packs of a row's first `columns` columns; the last pack may go beyond them.
template <int W, class Body> __device__ void for_packs(int64_t columns, Body&& body) {
  for (int64_t j = static_cast<int64_t>(threadIdx.x) * W; j < columns; j += static_cast<int64_t>(blockDim.x) * W) body(j);
}

template <class T, int W> __global__ void maximum_kernel(float* maximum, const T* logits, int64_t columns, int64_t valid) {
  float* const scratch = shared_memory<float>();
  const T* row = logits + blockIdx.x * columns;
  float top = -INFINITY;
  for_packs<W>(valid, [&](int64_t j) {
    const Pack<T, W> z = load_pack<W>(row + j);
    for (int e = 0; e < W; ++e)
      if (j + e < valid) top = Maximum{}(to_f32(z.element[e]), top);
  });
  top = reduce_block(top, scratch, Maximum{});
  if (threadIdx.x == 0) maximum[blockIdx.x] = top;
}

template <class T, int W> __global__ void sums_kernel(float* exponentials, float* chosen, const T* logits, const float* maximum,
                                                      const int32_t* targets, int64_t columns, int64_t first, int64_t valid) {
  float* const scratch = shared_memory<float>();
  const int64_t t = blockIdx.x, target = targets[t] - first;
  const T* row = logits + t * columns;
  const float top = maximum[t];
  float sum = 0;
  for_packs<W>(valid, [&](int64_t j) {
    const Pack<T, W> z = load_pack<W>(row + j);
    for (int e = 0; e < W; ++e)
      if (j + e < valid) sum += expf(to_f32(z.element[e]) - top);
  });
  sum = reduce_block(sum, scratch, Sum{});
  if (threadIdx.x != 0) return;
  exponentials[t] = sum;
  chosen[t] = target >= 0 && target < valid ? to_f32(row[target]) : 0.0f;
}

// One block for all tokens: the two sums are few additions, in f64 and in a fixed order.
__global__ void loss_kernel(double* loss_sum, double* weight_sum, const float* maximum, const float* exponentials,
                            const float* chosen, const float* weights, int64_t tokens) {
  double* const scratch = shared_memory<double>();
  double loss = 0, weight = 0;
  for (int64_t t = threadIdx.x; t < tokens; t += blockDim.x) {
    weight += weights[t];
    if (weights[t] != 0.0f) loss += weights[t] * (log(static_cast<double>(exponentials[t])) + maximum[t] - chosen[t]);
  }
  loss = reduce_block(loss, scratch, Sum{});
  weight = reduce_block(weight, scratch, Sum{});
  if (threadIdx.x != 0) return;
  *loss_sum += loss;
  *weight_sum += weight;
}

template <class T, int W> __global__ void gradient_kernel(T* logits, const float* maximum, const float* exponentials,
                                                          const int32_t* targets, const float* weights, int64_t columns,
                                                          int64_t first, int64_t valid) {
  const int64_t t = blockIdx.x, target = targets[t] - first;
  T* row = logits + t * columns;
  const float top = maximum[t], weight = weights[t], factor = weight / exponentials[t];
  for_packs<W>(columns, [&](int64_t j) {
    Pack<T, W> z = load_pack<W>(row + j);
    for (int e = 0; e < W; ++e) {
      const float exponential = j + e < valid ? expf(to_f32(z.element[e]) - top) : 0.0f;
      // The target's gradient is rounded once, from p - 1.
      const float gradient = j + e == target ? weight * (exponential / exponentials[t] - 1.0f) : exponential * factor;
      z.element[e] = from_f32<T>(j + e < valid ? gradient : 0.0f);
    }
    store_pack(row + j, z);
  });
}

bool packed(ConstTensorView logits) { return packs(logits.shape[1] * size_of(logits.dtype), logits.data); }

}  // namespace

void cross_entropy_maximum(StreamHandle stream, TensorView maximum, ConstTensorView logits, const VocabularySlice& slice) {
  by_type_and_width(logits.dtype, packed(logits), [&]<class T, class W>(T*, W) {
    launch(maximum_kernel<T, W::value>, {logits.shape[0], kThreads, kShared}, stream, maximum.as<float>(), logits.as<T>(),
           logits.shape[1], slice.valid);
  });
}

void cross_entropy_sums(StreamHandle stream, TensorView sums, ConstTensorView logits, ConstTensorView maximum,
                        ConstTensorView targets, const VocabularySlice& slice) {
  float* const exponentials = sums.as<float>();
  by_type_and_width(logits.dtype, packed(logits), [&]<class T, class W>(T*, W) {
    launch(sums_kernel<T, W::value>, {logits.shape[0], kThreads, kShared}, stream, exponentials, exponentials + logits.shape[0],
           logits.as<T>(), maximum.as<float>(), targets.as<int32_t>(), logits.shape[1], slice.first, slice.valid);
  });
}

void cross_entropy_loss(StreamHandle stream, TensorView loss_sum, TensorView weight_sum, ConstTensorView maximum,
                        ConstTensorView sums, ConstTensorView weights) {
  const int64_t tokens = maximum.shape[0];
  launch(loss_kernel, {1, kThreads, kShared}, stream, loss_sum.as<double>(), weight_sum.as<double>(), maximum.as<float>(),
         sums.as<float>(), sums.as<float>() + tokens, weights.as<float>(), tokens);
}

void cross_entropy_gradient(StreamHandle stream, TensorView logits, ConstTensorView maximum, ConstTensorView sums,
                            ConstTensorView targets, ConstTensorView weights, const VocabularySlice& slice) {
  by_type_and_width(logits.dtype, packed(logits), [&]<class T, class W>(T*, W) {
    launch(gradient_kernel<T, W::value>, {logits.shape[0], kThreads}, stream, logits.as<T>(), maximum.as<float>(), sums.as<float>(),
           targets.as<int32_t>(), weights.as<float>(), logits.shape[1], slice.first, slice.valid);
  });
}

}  // namespace drover::cuda
