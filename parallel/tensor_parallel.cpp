#include "parallel/tensor_parallel.h"

#include "kernels/gemm.h"

namespace drover {

TensorView own_rows(const TensorParallel& tp, TensorView full) {
  const int64_t rows = full.shape[0] / tp.group.size();
  return full.rows(tp.group.rank() * rows, rows);
}

void column_forward(const TensorParallel& tp, TensorView y, TensorView x_full, ConstTensorView weight, ConstTensorView bias) {
  tp.group.all_gather(tp.stream, x_full);
  gemm(tp.stream, y, x_full, false, weight, true, 0, tp.gemm_scratch, bias);
}

void column_backward_input(const TensorParallel& tp, TensorView dx_full, ConstTensorView dy, ConstTensorView weight) {
  gemm(tp.stream, dx_full, dy, false, weight, false, 0, tp.gemm_scratch);
  tp.group.reduce_scatter(tp.stream, dx_full);
}

void column_backward_weight(const TensorParallel& tp, TensorView dweight, ConstTensorView dy, ConstTensorView x_full, float beta) {
  gemm(tp.stream, dweight, dy, true, x_full, false, beta, tp.gemm_scratch);
}

void row_forward(const TensorParallel& tp, TensorView y_full, ConstTensorView x, ConstTensorView weight) {
  gemm(tp.stream, y_full, x, false, weight, true, 0, tp.gemm_scratch);
  tp.group.reduce_scatter(tp.stream, y_full);
}

void row_backward_input(const TensorParallel& tp, TensorView dx, TensorView dy_full, ConstTensorView weight) {
  tp.group.all_gather(tp.stream, dy_full);
  gemm(tp.stream, dx, dy_full, false, weight, false, 0, tp.gemm_scratch);
}

void row_backward_weight(const TensorParallel& tp, TensorView dweight, ConstTensorView dy_full, ConstTensorView x, float beta) {
  gemm(tp.stream, dweight, dy_full, true, x, false, beta, tp.gemm_scratch);
}

}  // namespace drover
