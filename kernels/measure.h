// What this machine can do at best, measured in this process with the threads that compute: what rates are shares of.
#pragma once
#include "kernels/stream.h"

namespace drover {

// FLOP/s of a square product of 768 in `dtype`, accumulated in f32, its operands in cache: the median of those of 150 ms.
double measure_gemm_rate(Stream& stream, DType dtype);

// Bytes read plus bytes written a second by a copy that no cache holds: the best of several.
double measure_copy_rate();

}  // namespace drover
