// RMSNorm on the cpu. Arguments as in kernels/rmsnorm.h, already checked.
#pragma once
#include "kernels/view.h"

namespace drover::cpu {

constexpr int64_t kRmsnormRowBlocks = 32;  // partial sums of dweight

void rmsnorm_forward(TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight, float eps);
void add_rmsnorm_forward(TensorView sum, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView residual,
                         ConstTensorView weight, float eps);
void rmsnorm_backward(TensorView dx, TensorView dweight, ConstTensorView dy, ConstTensorView x, ConstTensorView rstd,
                      ConstTensorView weight, bool accumulate, TensorView scratch);

}  // namespace drover::cpu
