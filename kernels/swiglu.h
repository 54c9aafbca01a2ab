// SwiGLU (Shazeer 2020, eq. 5) over gate and up side by side.
//
//   y_tj = silu(g_tj) u_tj      silu(g) = g sigmoid(g)
//   dg = dy u sigmoid(g) (1 + g (1 - sigmoid(g)))      du = dy silu(g)
//
//   gate_up, dgate_up: [tokens, 2 ffn], gate in columns [0, ffn), up in [ffn, 2 ffn)   y, dy: [tokens, ffn]; one dtype, f32 or bf16
// backward also writes y again (recomputed, bit-equal to forward), because the weight gradient of `down` needs it.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

void swiglu_forward(Stream& stream, TensorView y, ConstTensorView gate_up);
void swiglu_backward(Stream& stream, TensorView dgate_up, TensorView y, ConstTensorView dy, ConstTensorView gate_up);

}  // namespace drover
