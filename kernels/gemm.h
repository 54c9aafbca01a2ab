// Matrix product.   c = op(a) op(b) + beta c, or op(a) op(b) + bias
//
//   c: [m, n] f32 or bf16   op(a): [m, k]   op(b): [k, n]   a, b: the same dtype, f32 or bf16
//   op(x) is x, or its transpose: `a` is stored [k, m] when transpose_a, `b` is stored [n, k] when transpose_b.
//
// Products accumulate in f32 and are rounded once to c's dtype. beta is 0 (c is not read) or 1. A bias, [n] of c's dtype or empty, is added to
// each row, with beta 0: on a GPU before that rounding, by the product itself where the bias lies on 16 bytes; else in a pass of its own.
// `scratch` belongs to the library: u8, at least gemm_scratch_bytes(...) bytes. The bound depends on device, shapes and threads alone, so that a
// plan made on another machine holds; a product for which the library wants more is cut, and Error(memory) thrown where that is not enough.
// Deterministic for one build, instruction set and thread count; on a GPU, for one library, kind of GPU and algorithm
// (kernels/gemm_algorithms.h). c must not overlap a or b.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

// On the cpu of `threads` threads; of at least 16, so that a plan that does not know them is right for most hosts.
int64_t gemm_scratch_bytes(DType input, int64_t m, int64_t n, int64_t k, int threads, Device device = {});

void gemm(Stream& stream, TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta,
          TensorView scratch, ConstTensorView bias = {});

// The name and version of the library behind gemm on this device, e.g. "oneDNN 2.6.3, avx512_core_amx", or "plain loops".
std::string gemm_library(Device device = {});

}  // namespace drover
