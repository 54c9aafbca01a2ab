// Blocks, as many as the count asks for, sum a fixed part each; one block adds the parts in order.
#include <algorithm>

#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"
#include "kernels/reduction.h"

namespace drover::cuda {
namespace {

constexpr int kThreads = 256;

template <int W>
__global__ void square_kernel(double* partials, const float* x, int64_t packs_of_x, const float* rest, int64_t rest_count) {
  double* const scratch = shared_memory<double>();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
                stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  double sum = 0;
  for (int64_t i = first; i < packs_of_x; i += stride) {
    const Pack<float, W> value = load_pack<W>(x + i * W);
    for (int e = 0; e < W; ++e) sum += static_cast<double>(value.element[e]) * static_cast<double>(value.element[e]);
  }
  if (first < rest_count) sum += static_cast<double>(rest[first]) * static_cast<double>(rest[first]);
  sum = reduce_block(sum, scratch, Sum{});
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

__global__ void add_parts_kernel(double* sum, const double* partials, int64_t parts) {
  double* const scratch = shared_memory<double>();
  double mine = 0;
  for (int64_t i = threadIdx.x; i < parts; i += blockDim.x) mine += partials[i];
  mine = reduce_block(mine, scratch, Sum{});
  if (threadIdx.x == 0) *sum += mine;
}

}  // namespace

void sum_of_squares(StreamHandle stream, TensorView sum, ConstTensorView x, TensorView scratch) {
  const int64_t blocks = std::clamp<int64_t>(ceil_of(x.count(), kThreads * kPack<float>), 1, kSumOfSquaresScratch);
  const auto by_width = [&]<class W>(W) {
    const int64_t whole = x.count() / W::value, rest = x.count() - whole * W::value;
    launch(square_kernel<W::value>, {blocks, kThreads, reduce_bytes(kThreads, sizeof(double))}, stream, scratch.as<double>(),
           x.as<float>(), whole, x.as<float>() + whole * W::value, rest);
  };
  packs(kPackBytes, x.data) ? by_width(Width<kPack<float>>{}) : by_width(Width<1>{});
  launch(add_parts_kernel, {1, kThreads, reduce_bytes(kThreads, sizeof(double))}, stream, sum.as<double>(), scratch.as<double>(),
         blocks);
}

}  // namespace drover::cuda
