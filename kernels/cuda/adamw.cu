// One thread prepares an update's scalars; then a thread takes 16 bytes of each array.
#include "kernels/cuda/block.h"
#include "kernels/cuda/ops.h"

namespace drover::cuda {
namespace {

__global__ void prepare_update_kernel(double* control, const double* sums, AdamW adamw, double max_norm) {
  const double weight = sums[weight_sum];
  const bool finite = isfinite(sums[squared_norm]) && isfinite(sums[loss_sum]) && isfinite(weight);
  const bool skip = !finite || weight == 0 || sums[no_data] != 0;
  const double norm = weight != 0 ? sqrt(sums[squared_norm]) / weight : 0;
  control[control_skip] = skip ? 1 : 0;
  control[control_norm] = norm;
  control[control_scale] = 0;
  if (skip) return;
  const double clip = max_norm > 0 ? fmin(1.0, max_norm / (norm + 1e-6)) : 1.0;
  control[control_scale] = clip / weight;
  const double applied = control[control_applied] += 1;
  control[control_correction1] = 1 - pow(adamw.beta1, applied);
  control[control_correction2] = 1 - pow(adamw.beta2, applied);
}

// weights: null where the masters are the weights.
template <int W> __global__ void adamw_kernel(float* master, float* m, float* v, Bf16* weights, const float* gradient,
                                              const double* control, UpdateFactors f, int64_t count) {
  if (control[control_skip] != 0) return;
  const float scale = static_cast<float>(control[control_scale]), root = static_cast<float>(sqrt(control[control_correction2])),
              step = static_cast<float>(-f.lr / control[control_correction1]);
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * W;
  if (i >= count) return;
  Pack<float, W> p = load_pack<W>(master + i), mean = load_pack<W>(m + i), square = load_pack<W>(v + i);
  const Pack<float, W> gradients = load_pack<W>(gradient + i);
  for (int e = 0; e < W; ++e) {
    const float g = scale * gradients.element[e];
    mean.element[e] += f.blend1 * (g - mean.element[e]);
    square.element[e] = square.element[e] * f.beta2 + f.blend2 * g * g;
    const float denominator = sqrtf(square.element[e]) / root + f.eps;
    p.element[e] = p.element[e] * f.keep + step * mean.element[e] / denominator;
  }
  store_pack(master + i, p);
  store_pack(m + i, mean);
  store_pack(v + i, square);
  if (weights == nullptr) return;
  Pack<Bf16, W> rounded;
  for (int e = 0; e < W; ++e) rounded.element[e] = from_f32<Bf16>(p.element[e]);
  store_pack(weights + i, rounded);
}

}  // namespace

void prepare_update(StreamHandle stream, TensorView control, ConstTensorView sums, const AdamW& adamw, double max_norm) {
  launch(prepare_update_kernel, {1, 1}, stream, control.as<double>(), sums.as<double>(), adamw, max_norm);
}

void adamw_update(StreamHandle stream, TensorView master, TensorView m, TensorView v, TensorView weights, ConstTensorView gradient,
                  ConstTensorView control, const UpdateFactors& factors) {
  constexpr int kThreads = 256;
  const auto part = [&]<class W>(W, int64_t begin, int64_t count) {
    launch(adamw_kernel<W::value>, {ceil_of(count / W::value, kThreads), kThreads}, stream, master.as<float>() + begin,
           m.as<float>() + begin, v.as<float>() + begin, weights.empty() ? nullptr : weights.as<Bf16>() + begin,
           gradient.as<float>() + begin, control.as<double>(), factors, count);
  };
  using Wide = Width<kPack<float>>;
  const bool packed = packs(kPackBytes, master.data, m.data, v.data, gradient.data) &&
                      reinterpret_cast<uintptr_t>(weights.data) % sizeof(Pack<Bf16, Wide::value>) == 0;
  const int64_t whole = packed ? master.count() / Wide::value * Wide::value : 0;
  part(Wide{}, 0, whole);
  part(Width<1>{}, whole, master.count() - whole);
}

}  // namespace drover::cuda
