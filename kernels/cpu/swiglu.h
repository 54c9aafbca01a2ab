// SwiGLU on the cpu. Arguments as in kernels/swiglu.h, already checked.
#pragma once
#include "kernels/view.h"

namespace drover::cpu {

void swiglu_forward(TensorView y, ConstTensorView gate_up);
void swiglu_backward(TensorView dgate_up, TensorView y, ConstTensorView dy, ConstTensorView gate_up);

}  // namespace drover::cpu
