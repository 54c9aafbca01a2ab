// Forward: a block copies one token's row. Backward without atomics: a block owns some rows and columns of the gradient, looks through all
// tokens for those of its rows, and adds in the order of tokens.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

template <class T, int W> __global__ void embedding_forward_kernel(T* y, const int32_t* tokens, const T* weight, int64_t first,
                                                                   int64_t rows, int64_t hidden) {
  const int64_t t = blockIdx.x, row = tokens[t] - first;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * W; i < hidden; i += static_cast<int64_t>(blockDim.x) * W)
    store_pack(y + t * hidden + i, row >= 0 && row < rows ? load_pack<W>(weight + row * hidden + i) : Pack<T, W>{});
}

constexpr int kThreads = 256, kRowsOfABlock = 256;

template <class T> __global__ void embedding_backward_kernel(float* dweight, const T* dy, const int32_t* tokens, int64_t count,
                                                             int64_t first, int64_t rows, int64_t hidden) {
  int32_t* const found = shared_memory<int32_t>();  // [kThreads]: which of these tokens are of this block's rows
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kRowsOfABlock, end = min(rows, begin + kRowsOfABlock);
  const int64_t column = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  for (int64_t t = 0; t < count; t += kThreads) {
    const int64_t mine = t + threadIdx.x, row = mine < count ? tokens[mine] - first : -1;
    found[threadIdx.x] = row >= begin && row < end;
    if (!__syncthreads_or(row >= begin && row < end)) continue;
    for (int i = 0; i < kThreads && column < hidden; ++i) {
      if (!found[i]) continue;
      dweight[(tokens[t + i] - first) * hidden + column] += to_f32(dy[(t + i) * hidden + column]);
    }
    __syncthreads();  // found is free again
  }
}

}  // namespace

void embedding_forward(StreamHandle stream, TensorView y, ConstTensorView tokens, ConstTensorView weight, int64_t first) {
  const int64_t rows = weight.shape[0], hidden = weight.shape[1];
  by_type_and_width(y.dtype, packs(hidden * size_of(y.dtype), y.data, weight.data), [&]<class T, class W>(T*, W) {
    launch(embedding_forward_kernel<T, W::value>, {tokens.count(), threads_for(hidden / W::value)}, stream, y.as<T>(),
           tokens.as<int32_t>(), weight.as<T>(), first, rows, hidden);
  });
}

void embedding_backward(StreamHandle stream, TensorView dweight, ConstTensorView dy, ConstTensorView tokens, int64_t first) {
  const int64_t rows = dweight.shape[0], hidden = dweight.shape[1];
  by_type_and_width(dy.dtype, false, [&]<class T, class W>(T*, W) {
    launch(embedding_backward_kernel<T>,
           {ceil_of(rows, kRowsOfABlock), kThreads, kThreads * static_cast<int64_t>(sizeof(int32_t)), ceil_of(hidden, kThreads)},
           stream, dweight.as<float>(), dy.as<T>(), tokens.as<int32_t>(), tokens.count(), first, rows, hidden);
  });
}

}  // namespace drover::cuda
