// Root-mean-square normalization (Zhang & Sennrich 2019, eq. 4).
//
//   rstd_t = 1 / sqrt(mean_i x_ti^2 + eps)      y_ti = x_ti rstd_t w_i
//   dx_ti = rstd_t (w_i dy_ti - x_ti rstd_t^2 mean_j(w_j dy_tj x_tj))      dw_i = sum_t dy_ti x_ti rstd_t
//
//   x, y, dx, dy, residual: [tokens, hidden], one dtype, f32 or bf16   weight: [hidden], the same dtype
//   rstd: [tokens] f32   dweight: [hidden] f32
// Arithmetic in f32, sums in a fixed order: deterministic, whatever the thread count.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

void rmsnorm_forward(Stream& stream, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight, float eps);

// sum = x + residual (rounded to the dtype), then y = rmsnorm(sum). `sum` may be `x` or `residual` itself.
void add_rmsnorm_forward(Stream& stream, TensorView sum, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView residual,
                         ConstTensorView weight, float eps);

// dx (+)= the formula above: with `accumulate`, dx already holds the gradient that flowed past the norm.
// dweight is always added to. dx may be dy itself when !accumulate.
// scratch: f32, at least rmsnorm_backward_scratch(...) elements: one partial dweight for each of a number of row blocks that is fixed for
// a device.
int64_t rmsnorm_backward_scratch(int64_t hidden, Device device);
void rmsnorm_backward(Stream& stream, TensorView dx, TensorView dweight, ConstTensorView dy, ConstTensorView x,
                      ConstTensorView rstd, ConstTensorView weight, bool accumulate, TensorView scratch);

}  // namespace drover
