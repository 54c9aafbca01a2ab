#include "kernels/reduction.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace drover {

void sum_of_squares(Stream& stream, TensorView sum, ConstTensorView x) {
  constexpr const char* kOp = "sum_of_squares";
  require_tensor(stream, kOp, "x", x, DType::f32, x.shape);
  require_tensor(stream, kOp, "sum", sum, DType::f64, {1});
  const Timed timed = stream.charge({OpKind::reduction, 2 * x.count(), x.bytes()});
  require_cpu(stream, kOp);
  cpu::sum_of_squares(sum, x);
}

}  // namespace drover
