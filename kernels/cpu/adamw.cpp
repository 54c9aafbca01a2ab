#include <cmath>
#include <type_traits>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/vector_math.h"

// A sqrt that may set errno stays a call, and a loop with calls stays scalar, four times slower; nobody reads errno here.
extern "C" [[gnu::const]] float sqrtf(float) noexcept;

namespace drover::cpu {
namespace {

// Weight: void where the masters are the weights.
template <class Weight> void update(TensorView master, TensorView m, TensorView v, Weight* weights, ConstTensorView gradient,
                                    ConstTensorView control, const UpdateFactors& f) {
  const double* slots = control.as<double>();
  const float scale = static_cast<float>(slots[control_scale]), root = static_cast<float>(std::sqrt(slots[control_correction2])),
              step = static_cast<float>(-f.lr / slots[control_correction1]);
  float *p = master.as<float>(), *first = m.as<float>(), *second = v.as<float>();
  const float* gradients = gradient.as<float>();
  simd_elements(
      master.count(), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) {
          const float g = scale * gradients[i];
          const float kept = p[i] * f.keep;
          const float mean = first[i] + f.blend1 * (g - first[i]);
          const float square = second[i] * f.beta2 + f.blend2 * g * g;
          const float denominator = ::sqrtf(square) / root + f.eps;
          first[i] = mean;
          second[i] = square;
          p[i] = kept + step * mean / denominator;
          if constexpr (!std::is_void_v<Weight>) store(weights + i, p[i]);
        }
      });
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

void adamw_update(TensorView master, TensorView m, TensorView v, TensorView weights, ConstTensorView gradient,
                  ConstTensorView control, const UpdateFactors& factors) {
  if (control.as<double>()[control_skip] != 0) return;
  if (weights.empty()) return update<void>(master, m, v, nullptr, gradient, control, factors);
  update(master, m, v, weights.as<Bf16>(), gradient, control, factors);
}

}  // namespace drover::cpu
