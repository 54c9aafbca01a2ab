// A block takes a row at a time: one pass for the row's sum, one for its results, while the row is in the nearest cache.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

template <class T, int W> __device__ float squares_of(const Pack<T, W>& pack) {
  float sum = 0;
  for (int e = 0; e < W; ++e) sum += to_f32(pack.element[e]) * to_f32(pack.element[e]);
  return sum;
}

template <class T, int W, bool Add> __global__ void rmsnorm_forward_kernel(T* sum, T* y, float* rstd, const T* x, const T* residual,
                                                                           const T* weight, int64_t tokens, int64_t hidden,
                                                                           float eps) {
  float* scratch = shared_memory<float>();
  const int64_t first = static_cast<int64_t>(threadIdx.x) * W, stride = static_cast<int64_t>(blockDim.x) * W;
  for (int64_t t = blockIdx.x; t < tokens; t += gridDim.x) {
    const T* row = (Add ? sum : x) + t * hidden;
    float squares = 0;
    for (int64_t i = first; i < hidden; i += stride) {
      Pack<T, W> value = load_pack<W>(x + t * hidden + i);
      if (Add) {
        const Pack<T, W> other = load_pack<W>(residual + t * hidden + i);
        for (int e = 0; e < W; ++e) value.element[e] = from_f32<T>(to_f32(value.element[e]) + to_f32(other.element[e]));
        store_pack(sum + t * hidden + i, value);
      }
      squares += squares_of(value);
    }
    const float scale = 1.0f / sqrtf(reduce_block(squares, scratch, Sum{}) / static_cast<float>(hidden) + eps);
    if (threadIdx.x == 0) rstd[t] = scale;
    for (int64_t i = first; i < hidden; i += stride) {
      Pack<T, W> value = load_pack<W>(row + i);
      const Pack<T, W> factor = load_pack<W>(weight + i);
      for (int e = 0; e < W; ++e) value.element[e] = from_f32<T>(to_f32(value.element[e]) * scale * to_f32(factor.element[e]));
      store_pack(y + t * hidden + i, value);
    }
  }
}

// A block's rows lie side by side; their part of dweight stays in shared memory, each column with one thread.
template <class T, int W, bool Accumulate> __global__ void rmsnorm_backward_kernel(T* dx, float* partials, const T* dy, const T* x,
                                                                                   const float* rstd, const T* weight,
                                                                                   int64_t tokens, int64_t hidden) {
  float* const dweight = shared_memory<float>();
  float* const scratch = dweight + hidden;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * W, stride = static_cast<int64_t>(blockDim.x) * W;
  for (int64_t i = first; i < hidden; i += stride)
    for (int e = 0; e < W; ++e) dweight[i + e] = 0;
  const int64_t begin = tokens * blockIdx.x / gridDim.x, end = tokens * (blockIdx.x + 1) / gridDim.x;
  for (int64_t t = begin; t < end; ++t) {
    const int64_t row = t * hidden;
    const float scale = rstd[t];
    float dot = 0;
    for (int64_t i = first; i < hidden; i += stride) {
      const Pack<T, W> upstream = load_pack<W>(dy + row + i), value = load_pack<W>(x + row + i), factor = load_pack<W>(weight + i);
      for (int e = 0; e < W; ++e) {
        const float product = to_f32(upstream.element[e]) * to_f32(value.element[e]);
        dot += to_f32(factor.element[e]) * product;
        dweight[i + e] += product * scale;
      }
    }
    const float shrink = scale * scale * (reduce_block(dot, scratch, Sum{}) / static_cast<float>(hidden));
    for (int64_t i = first; i < hidden; i += stride) {
      const Pack<T, W> upstream = load_pack<W>(dy + row + i), value = load_pack<W>(x + row + i), factor = load_pack<W>(weight + i);
      Pack<T, W> result = Accumulate ? load_pack<W>(dx + row + i) : Pack<T, W>{};
      for (int e = 0; e < W; ++e) {
        const float gradient =
            scale * (to_f32(factor.element[e]) * to_f32(upstream.element[e]) - to_f32(value.element[e]) * shrink);
        result.element[e] = from_f32<T>(Accumulate ? to_f32(result.element[e]) + gradient : gradient);
      }
      store_pack(dx + row + i, result);
    }
  }
  for (int64_t i = first; i < hidden; i += stride)
    for (int e = 0; e < W; ++e) partials[blockIdx.x * hidden + i + e] = dweight[i + e];
}

// dweight += the blocks' parts. A block has kColumns columns; kLines threads share a column's parts.
constexpr int kColumns = 32, kLines = 8;
__global__ void add_partials_kernel(float* dweight, const float* partials, int64_t parts, int64_t hidden) {
  float* const sums = shared_memory<float>();  // [kLines][kColumns]
  const int line = static_cast<int>(threadIdx.x) / kColumns, place = static_cast<int>(threadIdx.x) % kColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + place;
  float sum = 0;
  if (column < hidden)
    for (int64_t part = parts * line / kLines; part < parts * (line + 1) / kLines; ++part) sum += partials[part * hidden + column];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (line != 0 || column >= hidden) return;
  for (int other = 1; other < kLines; ++other) sum += sums[other * kColumns + place];
  dweight[column] += sum;
}

template <bool Add> void forward(StreamHandle stream, TensorView sum, TensorView y, TensorView rstd, ConstTensorView x,
                                 ConstTensorView residual, ConstTensorView weight, float eps) {
  const int64_t tokens = x.shape[0], hidden = x.shape[1];
  const bool packed = packs(hidden * size_of(x.dtype), sum.data, y.data, x.data, residual.data, weight.data);
  by_type_and_width(x.dtype, packed, [&]<class T, class W>(T*, W) {
    const int threads = threads_for(hidden / W::value);
    launch(rmsnorm_forward_kernel<T, W::value, Add>, {tokens, threads, reduce_bytes(threads, sizeof(float))}, stream,
           Add ? sum.as<T>() : nullptr, y.as<T>(), rstd.as<float>(), x.as<T>(), Add ? residual.as<T>() : nullptr, weight.as<T>(),
           tokens, hidden, eps);
  });
}

}  // namespace

void rmsnorm_forward(StreamHandle stream, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight, float eps) {
  forward<false>(stream, {}, y, rstd, x, {}, weight, eps);
}

void add_rmsnorm_forward(StreamHandle stream, TensorView sum, TensorView y, TensorView rstd, ConstTensorView x,
                         ConstTensorView residual, ConstTensorView weight, float eps) {
  forward<true>(stream, sum, y, rstd, x, residual, weight, eps);
}

void rmsnorm_backward(StreamHandle stream, TensorView dx, TensorView dweight, ConstTensorView dy, ConstTensorView x,
                      ConstTensorView rstd, ConstTensorView weight, bool accumulate, TensorView scratch) {
  const int64_t tokens = x.shape[0], hidden = x.shape[1], blocks = std::min(tokens, kNormPartials);
  if (tokens == 0) return;
  const bool packed = packs(hidden * size_of(x.dtype), dx.data, dy.data, x.data, weight.data);
  by_type_and_width(x.dtype, packed, [&]<class T, class W>(T*, W) {
    const int threads = threads_for(hidden / W::value);
    const Grid grid{blocks, threads, hidden * size_of(DType::f32) + reduce_bytes(threads, sizeof(float))};
    launch(accumulate ? rmsnorm_backward_kernel<T, W::value, true> : rmsnorm_backward_kernel<T, W::value, false>, grid, stream,
           dx.as<T>(), scratch.as<float>(), dy.as<T>(), x.as<T>(), rstd.as<float>(), weight.as<T>(), tokens, hidden);
  });
  launch(add_partials_kernel,
         {ceil_of(hidden, kColumns), kColumns * kLines, kColumns * kLines * static_cast<int64_t>(sizeof(float))}, stream,
         dweight.as<float>(), scratch.as<float>(), blocks, hidden);
}

}  // namespace drover::cuda
