// Fills and copies are the runtime's; sums and casts take packs of 16 bytes of the narrower operand.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

constexpr int kThreads = 256;

template <class To, class From, int W> __global__ void cast_kernel(To* y, const From* x, int64_t packs_of_x) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= packs_of_x) return;
  const Pack<From, W> value = load_pack<W>(x + i * W);
  Pack<To, W> result;
  for (int e = 0; e < W; ++e) result.element[e] = from_f32<To>(to_f32(value.element[e]));
  store_pack(y + i * W, result);
}

template <class To, class From> void cast_to(StreamHandle stream, To* y, const From* x, int64_t count) {
  constexpr int kWide = 4;  // 16 bytes of f32, 8 of bf16
  const int64_t whole = packs(kPackBytes, y, x) ? count / kWide : 0, rest = count - whole * kWide;
  launch(cast_kernel<To, From, kWide>, {ceil_of(whole, kThreads), kThreads}, stream, y, x, whole);
  launch(cast_kernel<To, From, 1>, {ceil_of(rest, kThreads), kThreads}, stream, y + whole * kWide, x + whole * kWide, rest);
}

template <class T, int W> __global__ void add_kernel(T* y, const T* a, const T* b, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Pack<T, W> left = load_pack<W>(a + i * W);
  const Pack<T, W> right = load_pack<W>(b + i * W);
  for (int e = 0; e < W; ++e) left.element[e] = from_f32<T>(to_f32(left.element[e]) + to_f32(right.element[e]));
  store_pack(y + i * W, left);
}

template <class T, int W> __global__ void bias_forward_kernel(T* y, const T* bias, int64_t columns) {
  const int64_t t = blockIdx.x, j = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * W;
  if (j >= columns) return;
  Pack<T, W> value = load_pack<W>(y + t * columns + j);
  const Pack<T, W> offset = load_pack<W>(bias + j);
  for (int e = 0; e < W; ++e) value.element[e] = from_f32<T>(to_f32(value.element[e]) + to_f32(offset.element[e]));
  store_pack(y + t * columns + j, value);
}

// A block has kColumns columns; kLines threads share a column's tokens, and their sums are added in order.
constexpr int kColumns = 32, kLines = 32;
template <class T> __global__ void bias_backward_kernel(float* dbias, const T* dy, int64_t tokens, int64_t columns) {
  float* const sums = shared_memory<float>();  // [kLines][kColumns]
  const int line = static_cast<int>(threadIdx.x) / kColumns, place = static_cast<int>(threadIdx.x) % kColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + place;
  float sum = 0;
  if (column < columns)
    for (int64_t t = line; t < tokens; t += kLines) sum += to_f32(dy[t * columns + column]);
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (line != 0 || column >= columns) return;
  for (int other = 1; other < kLines; ++other) sum += sums[other * kColumns + place];
  dbias[column] += sum;
}

}  // namespace

void fill_zero(StreamHandle stream, TensorView y) {
  require(cudaMemsetAsync(y.data, 0, static_cast<size_t>(y.bytes()), stream), "fill_zero");
}

void copy(StreamHandle stream, TensorView y, ConstTensorView x) {
  require(cudaMemcpyAsync(y.data, x.data, static_cast<size_t>(y.bytes()), cudaMemcpyDeviceToDevice, stream), "copy");
}

void cast(StreamHandle stream, TensorView y, ConstTensorView x) {
  if (y.dtype == x.dtype) return copy(stream, y, x);
  if (y.dtype == DType::bf16) return cast_to(stream, y.as<Bf16>(), x.as<float>(), y.count());
  cast_to(stream, y.as<float>(), x.as<Bf16>(), y.count());
}

void add(StreamHandle stream, TensorView y, ConstTensorView a, ConstTensorView b) {
  by_type_and_width(y.dtype, packs(kPackBytes, y.data, a.data, b.data), [&]<class T, class W>(T*, W) {
    const int64_t whole = y.count() / W::value, done = whole * W::value, rest = y.count() - done;
    launch(add_kernel<T, W::value>, {ceil_of(whole, kThreads), kThreads}, stream, y.as<T>(), a.as<T>(), b.as<T>(), whole);
    launch(add_kernel<T, 1>, {ceil_of(rest, kThreads), kThreads}, stream, y.as<T>() + done, a.as<T>() + done, b.as<T>() + done,
           rest);
  });
}

void bias_forward(StreamHandle stream, TensorView y, ConstTensorView bias) {
  const int64_t tokens = y.shape[0], columns = y.shape[1];
  by_type_and_width(y.dtype, packs(columns * size_of(y.dtype), y.data, bias.data), [&]<class T, class W>(T*, W) {
    const int threads = threads_for(columns / W::value);
    launch(bias_forward_kernel<T, W::value>, {tokens, threads, 0, ceil_of(columns / W::value, threads)}, stream, y.as<T>(),
           bias.as<T>(), columns);
  });
}

void bias_backward(StreamHandle stream, TensorView dbias, ConstTensorView dy) {
  const int64_t tokens = dy.shape[0], columns = dy.shape[1];
  by_type_and_width(dy.dtype, false, [&]<class T, class W>(T*, W) {
    launch(bias_backward_kernel<T>,
           {ceil_of(columns, kColumns), kColumns * kLines, kColumns * kLines * static_cast<int64_t>(sizeof(float))}, stream,
           dbias.as<float>(), dy.as<T>(), tokens, columns);
  });
}

}  // namespace drover::cuda
