// Linear layers whose weight is divided over the tensor-parallel group, with sequence parallelism around them (Shoeybi et al. 2019,
// section 3; Korthikanti et al. 2022, section 4.2.2).
//
// Between the layers, activations are divided by tokens: rank r of `tp` holds rows [r T / tp, (r + 1) T / tp) of [T, hidden]. A "full"
// buffer is [T, hidden] of which only this rank's rows are valid on one side of a call: the gather fills the others, the reduction
// leaves the sum in them. On a group of one both do nothing.
//
//   column parallel   y = gather(x) W^T      W: [out / tp, in]   y: [T, out / tp]   with a bias [out / tp] or an empty one
//   row parallel      y = reduce(x W^T)      W: [out, in / tp]   x: [T, in / tp]
//
// Weight gradients, dW = dy^T x + beta dW, are f32 accumulators and need no communication: a step's first micro-batch writes them (beta 0),
// the others add (beta 1).
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"
#include "parallel/communicator.h"

namespace drover {

struct TensorParallel {
  Stream& stream;
  Communicator& group;
  TensorView gemm_scratch;  // u8, the bound of every product that goes through it
};

// This rank's rows of a full buffer.
TensorView own_rows(const TensorParallel& tp, TensorView full);

void column_forward(const TensorParallel& tp, TensorView y, TensorView x_full, ConstTensorView weight, ConstTensorView bias = {});
void column_backward_input(const TensorParallel& tp, TensorView dx_full, ConstTensorView dy, ConstTensorView weight);
void column_backward_weight(const TensorParallel& tp, TensorView dweight, ConstTensorView dy, ConstTensorView x_full, float beta);

void row_forward(const TensorParallel& tp, TensorView y_full, ConstTensorView x, ConstTensorView weight);
void row_backward_input(const TensorParallel& tp, TensorView dx, TensorView dy_full, ConstTensorView weight);
void row_backward_weight(const TensorParallel& tp, TensorView dweight, ConstTensorView dy_full, ConstTensorView x, float beta);

}  // namespace drover
