// The cpu implementations behind the checked entries in kernels/*.cpp: arguments as in the public headers, already checked.
#pragma once
#include "kernels/adamw.h"
#include "kernels/view.h"

namespace drover::cpu {

void rmsnorm_forward(TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight, float eps);
void add_rmsnorm_forward(TensorView sum, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView residual,
                         ConstTensorView weight, float eps);
void rmsnorm_backward(TensorView dx, TensorView dweight, ConstTensorView dy, ConstTensorView x, ConstTensorView rstd,
                      ConstTensorView weight, bool accumulate, TensorView scratch);
void rope(TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine, int64_t kv_heads, float sign);
void swiglu_forward(TensorView y, ConstTensorView gate_up);
void swiglu_backward(TensorView dgate_up, TensorView y, ConstTensorView dy, ConstTensorView gate_up);
void embedding_forward(TensorView y, ConstTensorView tokens, ConstTensorView weight, int64_t first);
void embedding_backward(TensorView dweight, ConstTensorView dy, ConstTensorView tokens, int64_t first);
void fill_zero(TensorView y);
void copy(TensorView y, ConstTensorView x);
void cast(TensorView y, ConstTensorView x);
void add(TensorView y, ConstTensorView a, ConstTensorView b);
void bias_forward(TensorView y, ConstTensorView bias);
void bias_backward(TensorView dbias, ConstTensorView dy);
void sum_of_squares(TensorView sum, ConstTensorView x, TensorView scratch);
void prepare_update(TensorView control, ConstTensorView sums, const AdamW& adamw, double max_norm);
void adamw_update(TensorView master, TensorView m, TensorView v, TensorView weights, ConstTensorView gradient,
                  ConstTensorView control, const UpdateFactors& factors);

constexpr int64_t kNormPartials =
    16;  // partial weight gradients of rmsnorm_backward: fixed, so that bits do not depend on the cores

}  // namespace drover::cpu
