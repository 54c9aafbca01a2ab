// The cpu side of kernels/gemm.h: oneDNN, or plain loops where it is missing.
#pragma once
#include <string>

#include "kernels/view.h"

namespace drover::cpu {

void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta, TensorView scratch);
std::string gemm_library();

// The fallback, always compiled, so that it is tested everywhere: cache-blocked loops over f32 tiles.
void gemm_plain(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta);

}  // namespace drover::cpu
