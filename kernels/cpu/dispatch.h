// "f32 or bf16": calls `body` with a null pointer of the element type.
#pragma once
#include "kernels/view.h"

namespace drover::cpu {

template <class Body> void by_float_type(DType dtype, const char* op, Body&& body) {
  if (dtype == DType::f32) return body(static_cast<float*>(nullptr));
  if (dtype == DType::bf16) return body(static_cast<Bf16*>(nullptr));
  DROVER_CHECK(false, std::string(op) + " of " + name_of(dtype) + ": f32 or bf16");
}

// Compiles a loop for the common vector widths; the processor's best is chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define DROVER_VECTOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define DROVER_VECTOR
#endif

}  // namespace drover::cpu
