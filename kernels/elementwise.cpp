#include "kernels/elementwise.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"

namespace drover {

namespace {

// Shapes may differ; the number of elements may not.
void require_count(const char* op, const ConstTensorView& y, const ConstTensorView& x) {
  DROVER_CHECK(y.count() == x.count(), std::string(op) + ": " + to_string(x.shape) + " to " + to_string(y.shape));
}

}  // namespace

void fill_zero(Stream& stream, TensorView y) {
  require_tensor(stream, "fill_zero", "y", y, y.dtype, y.shape);
  const Timed timed = stream.charge({OpKind::elementwise, 0, y.bytes()});
  if (on_gpu(stream, "fill_zero")) return cuda::fill_zero(stream.gpu(), y);
  cpu::fill_zero(y);
}

void copy(Stream& stream, TensorView y, ConstTensorView x) {
  require_count("copy", y, x);
  require_tensor(stream, "copy", "y", y, y.dtype, y.shape);
  require_tensor(stream, "copy", "x", x, y.dtype, x.shape);
  const Timed timed = stream.charge({OpKind::elementwise, 0, 2 * y.bytes()});
  if (on_gpu(stream, "copy")) return cuda::copy(stream.gpu(), y, x);
  cpu::copy(y, x);
}

void cast(Stream& stream, TensorView y, ConstTensorView x) {
  require_count("cast", y, x);
  require_tensor(stream, "cast", "y", y, y.dtype, y.shape);
  require_tensor(stream, "cast", "x", x, x.dtype, x.shape);
  if (y.dtype != x.dtype) {
    require_float("cast", "y", y);
    require_float("cast", "x", x);
  }
  const Timed timed = stream.charge({OpKind::elementwise, 0, y.bytes() + x.bytes()});
  if (on_gpu(stream, "cast")) return cuda::cast(stream.gpu(), y, x);
  cpu::cast(y, x);
}

void add(Stream& stream, TensorView y, ConstTensorView a, ConstTensorView b) {
  require_float("add", "y", y);
  require_tensor(stream, "add", "y", y, y.dtype, y.shape);
  require_tensor(stream, "add", "a", a, y.dtype, y.shape);
  require_tensor(stream, "add", "b", b, y.dtype, y.shape);
  const Timed timed = stream.charge({OpKind::elementwise, y.count(), 3 * y.bytes()});
  if (on_gpu(stream, "add")) return cuda::add(stream.gpu(), y, a, b);
  cpu::add(y, a, b);
}

void bias_forward(Stream& stream, TensorView y, ConstTensorView bias) {
  require_float("bias_forward", "y", y);
  require_rank("bias_forward", "y", y, 2);
  require_tensor(stream, "bias_forward", "y", y, y.dtype, y.shape);
  require_tensor(stream, "bias_forward", "bias", bias, y.dtype, {y.shape[1]});
  const Timed timed = stream.charge({OpKind::elementwise, y.count(), 2 * y.bytes() + bias.bytes()});
  if (on_gpu(stream, "bias_forward")) return cuda::bias_forward(stream.gpu(), y, bias);
  cpu::bias_forward(y, bias);
}

void bias_backward(Stream& stream, TensorView dbias, ConstTensorView dy) {
  require_float("bias_backward", "dy", dy);
  require_rank("bias_backward", "dy", dy, 2);
  require_tensor(stream, "bias_backward", "dy", dy, dy.dtype, dy.shape);
  require_tensor(stream, "bias_backward", "dbias", dbias, DType::f32, {dy.shape[1]});
  const Timed timed = stream.charge({OpKind::elementwise, dy.count(), dy.bytes() + 2 * dbias.bytes()});
  if (on_gpu(stream, "bias_backward")) return cuda::bias_backward(stream.gpu(), dbias, dy);
  cpu::bias_backward(dbias, dy);
}

}  // namespace drover
