#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/base/threads.h"
#include "kernels/checks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cuda/ops.h"
#include "kernels/transfer.h"

namespace drover {

namespace {

// Transformers' _compute_llama3_parameters for one frequency. torch divides a scalar by a tensor as reciprocal times scalar.
float llama3_frequency(float frequency, const RopeScaling& scaling) {
  const double positions = static_cast<double>(scaling.original_positions);
  const float longest = static_cast<float>(positions / scaling.low_freq_factor);
  const float shortest = static_cast<float>(positions / scaling.high_freq_factor);
  const float factor = static_cast<float>(scaling.factor), low = static_cast<float>(scaling.low_freq_factor);
  const float wavelength = (1.0f / frequency) * static_cast<float>(2 * std::numbers::pi);
  if (wavelength < shortest) return frequency;
  if (wavelength > longest) return frequency / factor;
  const float range = static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
  const float smooth = ((1.0f / wavelength) * static_cast<float>(positions) - low) / range;
  const float scaled_part = (1.0f - smooth) * frequency / factor;
  const float kept_part = smooth * frequency;
  return scaled_part + kept_part;
}

void rope(Stream& stream, const char* op, TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine,
          int64_t kv_heads, float sign) {
  require_float(op, "qkv", qkv);
  require_rank(op, "qkv", qkv, 3);
  require_rank(op, "cosine", cosine, 2);
  const int64_t tokens = qkv.shape[0], heads = qkv.shape[1], head_dim = qkv.shape[2];
  DROVER_CHECK(kv_heads >= 0 && 2 * kv_heads <= heads, std::string(op) + ": kv_heads " + std::to_string(kv_heads));
  DROVER_CHECK(head_dim % 2 == 0, std::string(op) + ": odd head_dim " + std::to_string(head_dim));
  require_tensor(stream, op, "qkv", qkv, qkv.dtype, qkv.shape);
  require_tensor(stream, op, "positions", positions, DType::i32, {tokens});
  require_tensor(stream, op, "cosine", cosine, DType::f32, {cosine.shape[0], head_dim / 2});
  require_tensor(stream, op, "sine", sine, DType::f32, cosine.shape);
  const int64_t rotated = tokens * (heads - kv_heads) * head_dim;
  const Timed timed =
      stream.charge({OpKind::rope, 3 * rotated, 2 * rotated * size_of(qkv.dtype) + tokens * head_dim * 4 + positions.bytes()});
  if (on_gpu(stream, op)) return cuda::rope(stream.gpu(), qkv, positions, cosine, sine, kv_heads, sign);
  cpu::rope(qkv, positions, cosine, sine, kv_heads, sign);
}

}  // namespace

std::vector<float> rope_frequencies(int64_t head_dim, double theta, const RopeScaling& scaling) {
  std::vector<float> frequencies;
  for (int64_t j = 0; j < head_dim / 2; ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_dim);
    const float power = static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent)));
    const float frequency = 1.0f / power;
    frequencies.push_back(scaling.factor == 1 ? frequency : llama3_frequency(frequency, scaling));
  }
  return frequencies;
}

void rope_table(Stream& stream, TensorView cosine, TensorView sine, const std::vector<float>& frequencies) {
  const int64_t half = static_cast<int64_t>(frequencies.size());
  require_rank("rope_table", "cosine", cosine, 2);
  require_tensor(stream, "rope_table", "cosine", cosine, DType::f32, {cosine.shape[0], half});
  require_tensor(stream, "rope_table", "sine", sine, DType::f32, cosine.shape);
  constexpr int64_t kRows = 1024;  // at a time
  std::vector<float> cosines(static_cast<size_t>(std::min(kRows, cosine.shape[0]) * half)), sines(cosines.size());
  for (int64_t first = 0; first < cosine.shape[0]; first += kRows) {
    const int64_t rows = std::min(kRows, cosine.shape[0] - first);
    parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * half; i < end * half; ++i) {
        // The angle is an f32 product, as in Transformers; its cosine and sine are rounded once.
        const int64_t position = first + i / half;
        const float angle = static_cast<float>(position) * frequencies[static_cast<size_t>(i % half)];
        cosines[static_cast<size_t>(i)] = static_cast<float>(std::cos(static_cast<double>(angle)));
        sines[static_cast<size_t>(i)] = static_cast<float>(std::sin(static_cast<double>(angle)));
      }
    });
    upload(stream, cosine.rows(first, rows), cosines.data());
    upload(stream, sine.rows(first, rows), sines.data());
  }
}

void rope_forward(Stream& stream, TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine,
                  int64_t kv_heads) {
  rope(stream, "rope_forward", qkv, positions, cosine, sine, kv_heads, 1);
}

void rope_backward(Stream& stream, TensorView dqkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine,
                   int64_t kv_heads) {
  rope(stream, "rope_backward", dqkv, positions, cosine, sine, kv_heads, -1);
}

}  // namespace drover
