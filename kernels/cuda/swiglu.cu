// A thread takes a pack of a token's gate and up.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class T, int W> __global__ void swiglu_forward_kernel(T* y, const T* gate_up, int64_t ffn) {
  const int64_t t = blockIdx.x, j = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * W;
  if (j >= ffn) return;
  const T* gate = gate_up + t * 2 * ffn + j;
  const Pack<T, W> g = load_pack<W>(gate), u = load_pack<W>(gate + ffn);
  Pack<T, W> out;
  for (int e = 0; e < W; ++e) {
    const float value = to_f32(g.element[e]);
    out.element[e] = from_f32<T>(value * sigmoid(value) * to_f32(u.element[e]));
  }
  store_pack(y + t * ffn + j, out);
}

template <class T, int W> __global__ void swiglu_backward_kernel(T* dgate_up, T* y, const T* dy, const T* gate_up, int64_t ffn) {
  const int64_t t = blockIdx.x, j = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * W;
  if (j >= ffn) return;
  const int64_t gate = t * 2 * ffn + j;
  const Pack<T, W> g = load_pack<W>(gate_up + gate), u = load_pack<W>(gate_up + gate + ffn), d = load_pack<W>(dy + t * ffn + j);
  Pack<T, W> out, dgate, dup;
  for (int e = 0; e < W; ++e) {
    const float value = to_f32(g.element[e]), up = to_f32(u.element[e]), upstream = to_f32(d.element[e]);
    const float s = sigmoid(value), silu = value * s;
    out.element[e] = from_f32<T>(silu * up);
    dgate.element[e] = from_f32<T>(upstream * up * s * (1.0f + value * (1.0f - s)));
    dup.element[e] = from_f32<T>(upstream * silu);
  }
  store_pack(y + t * ffn + j, out);
  store_pack(dgate_up + gate, dgate);
  store_pack(dgate_up + gate + ffn, dup);
}

Grid grid_for(int64_t tokens, int64_t row_packs) {
  const int threads = threads_for(row_packs);
  return {tokens, threads, 0, ceil_of(row_packs, threads)};
}

}  // namespace

void swiglu_forward(StreamHandle stream, TensorView y, ConstTensorView gate_up) {
  const int64_t tokens = y.shape[0], ffn = y.shape[1];
  by_type_and_width(y.dtype, packs(ffn * size_of(y.dtype), y.data, gate_up.data), [&]<class T, class W>(T*, W) {
    launch(swiglu_forward_kernel<T, W::value>, grid_for(tokens, ffn / W::value), stream, y.as<T>(), gate_up.as<T>(), ffn);
  });
}

void swiglu_backward(StreamHandle stream, TensorView dgate_up, TensorView y, ConstTensorView dy, ConstTensorView gate_up) {
  const int64_t tokens = y.shape[0], ffn = y.shape[1];
  const bool packed = packs(ffn * size_of(y.dtype), dgate_up.data, y.data, dy.data, gate_up.data);
  by_type_and_width(y.dtype, packed, [&]<class T, class W>(T*, W) {
    launch(swiglu_backward_kernel<T, W::value>, grid_for(tokens, ffn / W::value), stream, dgate_up.as<T>(), y.as<T>(), dy.as<T>(),
           gate_up.as<T>(), ffn);
  });
}

}  // namespace drover::cuda
