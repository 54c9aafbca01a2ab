// Products of oneDNN; without it, of none.
#pragma once
#include <string>

#include "kernels/cpu/matrix.h"

namespace drover::cpu {

bool library_multiplies(DType output, DType input);  // whether it has such a product for this processor
bool library_has_bf16_instructions();                // and for bf16 a fast one
std::string library_name();

// c = a b, or c + a b, on operands of one dtype. REQUIRES: library_multiplies. Throws Error(memory) where `scratch` is not enough.
void library_multiply(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, TensorView scratch);

}  // namespace drover::cpu
