#include "kernels/rmsnorm.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"

namespace drover {

void rmsnorm_forward(Stream& stream, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView weight, float eps) {
  constexpr const char* kOp = "rmsnorm_forward";
  require_float(kOp, "x", x);
  require_rank(kOp, "x", x, 2);
  const int64_t tokens = x.shape[0], hidden = x.shape[1];
  require_tensor(stream, kOp, "x", x, x.dtype, x.shape);
  require_tensor(stream, kOp, "y", y, x.dtype, x.shape);
  require_tensor(stream, kOp, "rstd", rstd, DType::f32, {tokens});
  require_tensor(stream, kOp, "weight", weight, x.dtype, {hidden});
  const Timed timed = stream.charge({OpKind::rmsnorm, 4 * x.count(), 2 * x.bytes() + weight.bytes() + rstd.bytes()});
  if (on_gpu(stream, kOp)) return cuda::rmsnorm_forward(stream.gpu(), y, rstd, x, weight, eps);
  cpu::rmsnorm_forward(y, rstd, x, weight, eps);
}

void add_rmsnorm_forward(Stream& stream, TensorView sum, TensorView y, TensorView rstd, ConstTensorView x, ConstTensorView residual,
                         ConstTensorView weight, float eps) {
  constexpr const char* kOp = "add_rmsnorm_forward";
  require_float(kOp, "x", x);
  require_rank(kOp, "x", x, 2);
  const int64_t tokens = x.shape[0], hidden = x.shape[1];
  require_tensor(stream, kOp, "x", x, x.dtype, x.shape);
  require_tensor(stream, kOp, "residual", residual, x.dtype, x.shape);
  require_tensor(stream, kOp, "sum", sum, x.dtype, x.shape);
  require_tensor(stream, kOp, "y", y, x.dtype, x.shape);
  require_tensor(stream, kOp, "rstd", rstd, DType::f32, {tokens});
  require_tensor(stream, kOp, "weight", weight, x.dtype, {hidden});
  const Timed timed = stream.charge({OpKind::rmsnorm, 5 * x.count(), 4 * x.bytes() + weight.bytes() + rstd.bytes()});
  if (on_gpu(stream, kOp)) return cuda::add_rmsnorm_forward(stream.gpu(), sum, y, rstd, x, residual, weight, eps);
  cpu::add_rmsnorm_forward(sum, y, rstd, x, residual, weight, eps);
}

int64_t rmsnorm_backward_scratch(int64_t hidden, Device device) {
  return (device.type == DeviceType::cuda ? cuda::kNormPartials : cpu::kNormPartials) * hidden;
}

void rmsnorm_backward(Stream& stream, TensorView dx, TensorView dweight, ConstTensorView dy, ConstTensorView x,
                      ConstTensorView rstd, ConstTensorView weight, bool accumulate, TensorView scratch) {
  constexpr const char* kOp = "rmsnorm_backward";
  require_float(kOp, "x", x);
  require_rank(kOp, "x", x, 2);
  const int64_t tokens = x.shape[0], hidden = x.shape[1];
  require_tensor(stream, kOp, "x", x, x.dtype, x.shape);
  require_tensor(stream, kOp, "dy", dy, x.dtype, x.shape);
  require_tensor(stream, kOp, "dx", dx, x.dtype, x.shape);
  require_tensor(stream, kOp, "rstd", rstd, DType::f32, {tokens});
  require_tensor(stream, kOp, "weight", weight, x.dtype, {hidden});
  require_tensor(stream, kOp, "dweight", dweight, DType::f32, {hidden});
  require_tensor(stream, kOp, "scratch", scratch, DType::f32, scratch.shape);
  DROVER_CHECK(scratch.count() >= rmsnorm_backward_scratch(hidden, stream.device()),
               "rmsnorm_backward: scratch of " + to_string(scratch.shape));
  DROVER_CHECK(!accumulate || dx.data != dy.data, "rmsnorm_backward: accumulate needs a dx of its own");
  const int64_t passes = accumulate ? 4 : 3;
  const Timed timed = stream.charge({OpKind::rmsnorm, (accumulate ? 11 : 10) * x.count(),
                                     passes * x.bytes() + weight.bytes() + rstd.bytes() + 2 * dweight.bytes()});
  if (on_gpu(stream, kOp)) return cuda::rmsnorm_backward(stream.gpu(), dx, dweight, dy, x, rstd, weight, accumulate, scratch);
  cpu::rmsnorm_backward(dx, dweight, dy, x, rstd, weight, accumulate, scratch);
}

}  // namespace drover
