// What kernels share: packs of elements that move in one access, and reductions over a block in a fixed order.
#pragma once
#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda/launch.h"
#include "kernels/view.h"

namespace drover::cuda {

constexpr int kWarp = 32;

__device__ inline float to_f32(float value) { return value; }
__device__ inline float to_f32(Bf16 value) { return __uint_as_float(static_cast<uint32_t>(value.bits) << 16); }

template <class T> __device__ inline T from_f32(float value);
template <> __device__ inline float from_f32<float>(float value) { return value; }
template <> __device__ inline Bf16 from_f32<Bf16>(float value) {
  Bf16 rounded;
  rounded.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
  return rounded;
}

// W elements side by side, at a multiple of their size.
template <class T, int W> struct alignas(sizeof(T) * W) Pack { T element[W]; };
template <int W, class T> __device__ inline Pack<T, W> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, W>*>(from);
}
template <class T, int W> __device__ inline void store_pack(T* to, const Pack<T, W>& pack) {
  *reinterpret_cast<Pack<T, W>*>(to) = pack;
}

// 16 bytes an access, where all rows, which are `row_bytes` apart, begin at multiples of that.
constexpr int64_t kPackBytes = 16;
template <class T> constexpr int kPack = static_cast<int>(kPackBytes / static_cast<int64_t>(sizeof(T)));
template <class... Rows> bool packs(int64_t row_bytes, const Rows*... rows) {
  return row_bytes % kPackBytes == 0 && ((reinterpret_cast<uintptr_t>(rows) % kPackBytes == 0) && ...);
}

// body(null pointer of T, width of a pack as an integral constant).
template <int W> struct Width { static constexpr int value = W; };
template <class Body> void by_type_and_width(DType dtype, bool packed, Body&& body) {
  if (dtype == DType::f32) {
    float* const type = nullptr;
    return packed ? body(type, Width<kPack<float>>{}) : body(type, Width<1>{});
  }
  Bf16* const type = nullptr;
  packed ? body(type, Width<kPack<Bf16>>{}) : body(type, Width<1>{});
}

inline int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Threads for a row of so many packs: whole warps, 256 at most.
inline int threads_for(int64_t row_packs) {
  constexpr int64_t kMost = 256;
  const int64_t wanted = ceil_of(row_packs, kWarp) * kWarp;
  return static_cast<int>(wanted < kWarp ? kWarp : wanted > kMost ? kMost : wanted);
}

struct Sum {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct Maximum {
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

// The reduction over a block's threads, in every thread. `scratch`: a value a warp, in shared memory; all threads come.
template <class T, class Combine> __device__ inline T reduce_block(T value, T* scratch, Combine combine) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (warps == 1) return value;
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  T all = scratch[0];
  for (int warp = 1; warp < warps; ++warp) all = combine(all, scratch[warp]);
  __syncthreads();  // scratch is free again
  return all;
}
inline int64_t reduce_bytes(int threads, int64_t size) { return threads / kWarp * size; }

}  // namespace drover::cuda
