#include "kernels/reduction.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"

namespace drover {

void sum_of_squares(Stream& stream, TensorView sum, ConstTensorView x, TensorView scratch) {
  constexpr const char* kOp = "sum_of_squares";
  require_tensor(stream, kOp, "x", x, DType::f32, x.shape);
  require_tensor(stream, kOp, "sum", sum, DType::f64, {1});
  require_tensor(stream, kOp, "scratch", scratch, DType::f64, {kSumOfSquaresScratch});
  const Timed timed = stream.charge({OpKind::reduction, 2 * x.count(), x.bytes()});
  if (on_gpu(stream, kOp)) return cuda::sum_of_squares(stream.gpu(), sum, x, scratch);
  cpu::sum_of_squares(sum, x, scratch);
}

}  // namespace drover
