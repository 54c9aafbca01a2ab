// What this machine can do at best, measured in this process with the threads that compute: what rates are shares of.
#pragma once
#include <functional>

#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

// Seconds that the stream's device takes for what `work` queues on it: by the host's clock on the cpu, by the GPU's events on a GPU.
double seconds_of(Stream& stream, const std::function<void()>& work);

// Normal values, f32 or bf16, the same for the same seed, 262,139 of them again and again: a GPU multiplies zeros faster than data.
void fill_random(Stream& stream, TensorView tensor, uint64_t seed);

// FLOP/s of a square product in `dtype` of random values, accumulated in f32: the median of those of 150 ms. Its size is 768 on the cpu, where
// the operands then are in cache, and on a GPU the least power of two from 256 to `largest` that takes half a millisecond.
double measure_gemm_rate(Stream& stream, DType dtype, int64_t largest = 4096);

// Bytes read plus bytes written a second by a copy on the stream's device that no cache holds: the best of several.
double measure_copy_rate(Stream& stream);

}  // namespace drover
