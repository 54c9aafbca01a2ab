#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/simd.h"

// A sqrt that may set errno stays a call, and a loop with calls stays scalar, four times slower; nobody reads errno here.
extern "C" [[gnu::const]] float sqrtf(float) noexcept;

namespace drover::cpu {

namespace {

// One update's scalars, rounded to f32 as torch rounds a Python scalar that meets an f32 tensor.
struct Scalars {
  float scale, keep, blend1, beta2, blend2, root_correction2, eps, step;
};

Scalars scalars(const double* control, const AdamW& adamw, double lr, double decay) {
  const auto f32 = [](double value) { return static_cast<float>(value); };
  return {f32(control[control_scale]),
          f32(1 - lr * decay),
          f32(1 - adamw.beta1),
          f32(adamw.beta2),
          f32(1 - adamw.beta2),
          f32(std::sqrt(control[control_correction2])),
          f32(adamw.eps),
          f32(-lr / control[control_correction1])};
}

}  // namespace

void prepare_update(TensorView control, ConstTensorView sums, const AdamW& adamw, double max_norm) {
  double* slots = control.as<double>();
  const double* sum = sums.as<double>();
  const double weight = sum[weight_sum];
  const bool finite = std::isfinite(sum[squared_norm]) && std::isfinite(sum[loss_sum]) && std::isfinite(weight);
  slots[control_skip] = finite && weight != 0 && sum[no_data] == 0 ? 0 : 1;
  slots[control_norm] = weight != 0 ? std::sqrt(sum[squared_norm]) / weight : 0;
  slots[control_scale] = 0;
  if (slots[control_skip] != 0) return;
  const double clip = max_norm > 0 ? std::min(1.0, max_norm / (slots[control_norm] + 1e-6)) : 1.0;
  slots[control_scale] = clip / weight;
  const double applied = slots[control_applied] += 1;
  slots[control_correction1] = 1 - std::pow(adamw.beta1, applied);
  slots[control_correction2] = 1 - std::pow(adamw.beta2, applied);
}

void adamw_update(TensorView master, TensorView m, TensorView v, ConstTensorView gradient, ConstTensorView control,
                  const AdamW& adamw, double lr, double decay) {
  const double* slots = control.as<double>();
  if (slots[control_skip] != 0) return;
  const Scalars s = scalars(slots, adamw, lr, decay);
  float *p = master.as<float>(), *first = m.as<float>(), *second = v.as<float>();
  const float* gradients = gradient.as<float>();
  simd_elements(
      master.count(), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) {
          const float g = s.scale * gradients[i];
          const float kept = p[i] * s.keep;
          const float mean = first[i] + s.blend1 * (g - first[i]);
          const float square = second[i] * s.beta2 + s.blend2 * g * g;
          const float denominator = ::sqrtf(square) / s.root_correction2 + s.eps;
          first[i] = mean;
          second[i] = square;
          p[i] = kept + s.step * mean / denominator;
        }
      });
}

}  // namespace drover::cpu
