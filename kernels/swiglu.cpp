#include "kernels/swiglu.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"

namespace drover {

void swiglu_forward(Stream& stream, TensorView y, ConstTensorView gate_up) {
  constexpr const char* kOp = "swiglu_forward";
  require_float(kOp, "y", y);
  require_rank(kOp, "y", y, 2);
  require_tensor(stream, kOp, "y", y, y.dtype, y.shape);
  require_tensor(stream, kOp, "gate_up", gate_up, y.dtype, {y.shape[0], 2 * y.shape[1]});
  const Timed timed = stream.charge({OpKind::swiglu, 5 * y.count(), 3 * y.bytes()});
  if (on_gpu(stream, kOp)) return cuda::swiglu_forward(stream.gpu(), y, gate_up);
  cpu::swiglu_forward(y, gate_up);
}

void swiglu_backward(Stream& stream, TensorView dgate_up, TensorView y, ConstTensorView dy, ConstTensorView gate_up) {
  constexpr const char* kOp = "swiglu_backward";
  require_float(kOp, "y", y);
  require_rank(kOp, "y", y, 2);
  require_tensor(stream, kOp, "y", y, y.dtype, y.shape);
  require_tensor(stream, kOp, "dy", dy, y.dtype, y.shape);
  require_tensor(stream, kOp, "gate_up", gate_up, y.dtype, {y.shape[0], 2 * y.shape[1]});
  require_tensor(stream, kOp, "dgate_up", dgate_up, y.dtype, gate_up.shape);
  const Timed timed = stream.charge({OpKind::swiglu, 12 * y.count(), 6 * y.bytes()});
  if (on_gpu(stream, kOp)) return cuda::swiglu_backward(stream.gpu(), dgate_up, y, dy, gate_up);
  cpu::swiglu_backward(dgate_up, y, dy, gate_up);
}

}  // namespace drover
