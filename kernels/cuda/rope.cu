// A block takes a token; a thread rotates a pack of a head's low half with its high one.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

template <class T, int W> __global__ void rope_kernel(T* qkv, const int32_t* positions, const float* cosine, const float* sine,
                                                      int64_t heads, int rotated, int half, int64_t table_rows, float sign) {
  const int64_t t = blockIdx.x, position = positions[t];
  if (position < 0 || position >= table_rows) __trap();
  const int half_packs = half / W;
  for (int i = static_cast<int>(threadIdx.x); i < rotated * half_packs; i += static_cast<int>(blockDim.x)) {
    const int j = i % half_packs * W;
    T* const low = qkv + (t * heads + i / half_packs) * 2 * half + j;
    Pack<T, W> a = load_pack<W>(low), b = load_pack<W>(low + half);
    for (int e = 0; e < W; ++e) {
      const float x = to_f32(a.element[e]), y = to_f32(b.element[e]);
      const float c = cosine[position * half + j + e], s = sign * sine[position * half + j + e];
      a.element[e] = from_f32<T>(x * c - y * s);
      b.element[e] = from_f32<T>(y * c + x * s);
    }
    store_pack(low, a);
    store_pack(low + half, b);
  }
}

}  // namespace

void rope(StreamHandle stream, TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine,
          int64_t kv_heads, float sign) {
  const int64_t tokens = qkv.shape[0], heads = qkv.shape[1], half = qkv.shape[2] / 2, rotated = heads - kv_heads;
  by_type_and_width(qkv.dtype, packs(half * size_of(qkv.dtype), qkv.data), [&]<class T, class W>(T*, W) {
    launch(rope_kernel<T, W::value>, {tokens, threads_for(rotated * half / W::value)}, stream, qkv.as<T>(), positions.as<int32_t>(),
           cosine.as<float>(), sine.as<float>(), heads, rotated, half, cosine.shape[0], sign);
  });
}

}  // namespace drover::cuda
