// The cpu side of kernels/attention.h.
#pragma once
#include "kernels/attention.h"

namespace drover::cpu {

int64_t attention_scratch_bytes(const AttentionShape& shape, DType dtype);
void attention_forward(TensorView out, TensorView lse, ConstTensorView qkv, ConstTensorView document_begin,
                       const AttentionShape& shape, float scale, TensorView scratch);
void attention_backward(TensorView dqkv, ConstTensorView dout, ConstTensorView out, ConstTensorView lse, ConstTensorView qkv,
                        ConstTensorView document_begin, const AttentionShape& shape, float scale, TensorView scratch);

}  // namespace drover::cpu
