// The cpu side of kernels/gemm.h: oneDNN, or plain loops where it is missing; products of bf16 by own loops over tiles where there is AMX.
#pragma once
#include <string>

#include "kernels/view.h"

namespace drover::cpu {

// How bf16 operands are multiplied: by AMX, by the library's own product of that type, or widened to f32 first.
enum class Bf16Product : uint8_t { tiles, native, widened };
Bf16Product best_bf16_product();      // on this processor
constexpr int64_t kWideBlock = 1024;  // rows and columns that are widened at a time, at most

void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta, TensorView scratch,
          Bf16Product bf16_product);
std::string gemm_library();

// The fallback, always compiled, so that it is tested everywhere: cache-blocked loops over f32 tiles.
void gemm_plain(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta);

}  // namespace drover::cpu
