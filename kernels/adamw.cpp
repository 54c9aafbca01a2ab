#include "kernels/adamw.h"

#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"

namespace drover {

void prepare_update(Stream& stream, TensorView control, ConstTensorView sums, const AdamW& adamw, double max_norm) {
  constexpr const char* kOp = "prepare_update";
  require_tensor(stream, kOp, "control", control, DType::f64, {control_slots});
  require_tensor(stream, kOp, "sums", sums, DType::f64, {step_sums});
  const Timed timed = stream.charge({OpKind::optimizer, 0, control.bytes() + sums.bytes()});
  if (on_gpu(stream, kOp)) return cuda::prepare_update(stream.gpu(), control, sums, adamw, max_norm);
  cpu::prepare_update(control, sums, adamw, max_norm);
}

void adamw_update(Stream& stream, TensorView master, TensorView m, TensorView v, TensorView weights, ConstTensorView gradient,
                  ConstTensorView control, const AdamW& adamw, double lr, double decay) {
  constexpr const char* kOp = "adamw_update";
  require_rank(kOp, "master", master, 1);
  require_tensor(stream, kOp, "master", master, DType::f32, master.shape);
  require_tensor(stream, kOp, "m", m, DType::f32, master.shape);
  require_tensor(stream, kOp, "v", v, DType::f32, master.shape);
  if (!weights.empty()) require_tensor(stream, kOp, "weights", weights, DType::bf16, master.shape);
  require_tensor(stream, kOp, "gradient", gradient, DType::f32, master.shape);
  require_tensor(stream, kOp, "control", control, DType::f64, {control_slots});
  const Timed timed = stream.charge({OpKind::optimizer, 14 * master.count(), 7 * master.bytes() + weights.bytes()});
  const auto f32 = [](double value) { return static_cast<float>(value); };
  const UpdateFactors factors{f32(1 - lr * decay),  f32(1 - adamw.beta1), f32(adamw.beta2),
                              f32(1 - adamw.beta2), f32(adamw.eps),       lr};
  if (on_gpu(stream, kOp)) return cuda::adamw_update(stream.gpu(), master, m, v, weights, gradient, control, factors);
  cpu::adamw_update(master, m, v, weights, gradient, control, factors);
}

}  // namespace drover
