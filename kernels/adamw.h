// AdamW (Loshchilov & Hutter 2019, algorithm 2) in torch.optim.AdamW's order of operations, over flat f32 arrays.
//
//   g = scale * gradient
//   p <- p (1 - lr decay)      m <- beta1 m + (1 - beta1) g      v <- beta2 v + (1 - beta2) g^2
//   p <- p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
//
// `control` is written on the device by prepare_update and read on the device, so that no host waits for a gradient norm:
//   scale = clip(norm) / weight_sum, where norm = sqrt(squared_norm) / weight_sum and clip(norm) = min(1, max_norm / (norm + 1e-6))
//           (torch.nn.utils.clip_grad_norm_; max_norm 0: no clipping)
//   skip  = 1 when squared_norm, loss_sum or weight_sum is not finite, weight_sum is 0, or some rank had no data (no_data is not 0): no
//           weight or moment is written, t stays
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

// Slots of the f64 vector that one all-reduce over the world sums each step.
enum StepSum : int { loss_sum, weight_sum, squared_norm, stop_requests, no_data, late_data, step_sums };

// Slots of the f64 `control` vector.
enum UpdateControl : int {
  control_scale,
  control_skip,
  control_applied,      // t: updates applied so far, this one included when not skipped; kept over steps and in checkpoints
  control_correction1,  // 1 - beta1^t
  control_correction2,  // 1 - beta2^t
  control_norm,  // gradient norm of the mean loss, before clipping; 0 when weight_sum is 0, not finite when a gradient is not
  control_slots
};

struct AdamW {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
};

// What an update's arithmetic in f32 takes from its settings, rounded as torch rounds a Python scalar that meets an f32 tensor. The rest is in
// `control`, on the device: scale, sqrt(correction2) and -lr / correction1 are rounded there.
struct UpdateFactors {
  float keep, blend1, beta2, blend2, eps;  // 1 - lr decay, 1 - beta1, beta2, 1 - beta2, eps
  double lr;
};

// sums: [step_sums] f64   control: [control_slots] f64
void prepare_update(Stream& stream, TensorView control, ConstTensorView sums, const AdamW& adamw, double max_norm);

// master, m, v, gradient: [count] f32, one segment with one decay. weights: [count] bf16, set to the new masters, rounded; empty: the masters
// are the weights. Arithmetic in f32. Charges OpKind::optimizer.
void adamw_update(Stream& stream, TensorView master, TensorView m, TensorView v, TensorView weights, ConstTensorView gradient,
                  ConstTensorView control, const AdamW& adamw, double lr, double decay);

}  // namespace drover
