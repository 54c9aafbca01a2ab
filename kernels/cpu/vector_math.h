// exp and friends as branch-free arithmetic, so that a compiler vectorises the loop that calls them; libm's calls it cannot.
#pragma once
#include <bit>
#include <cstdint>

#include "kernels/bf16.h"

namespace drover::cpu {

// f32 arithmetic over f32 or bf16 memory. (`y[i] = Bf16(v)` copies a struct, which g++ 12 does not vectorise.)
[[gnu::always_inline]] inline float load(const float* x) { return *x; }
[[gnu::always_inline]] inline float load(const Bf16* x) { return std::bit_cast<float>(static_cast<uint32_t>(x->bits) << 16); }
[[gnu::always_inline]] inline void store(float* y, float value) { *y = value; }
[[gnu::always_inline]] inline void store(Bf16* y, float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (u >> 16) | 0x40u;
  y->bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

// sum of term(i) over [0, count) in kSums running sums, then a tree over them: vectors keep full speed without -ffast-math, and
// the order of additions is the same for every vector width. `Sum` is float or double.
template <class Sum, class Term> [[gnu::always_inline]] inline Sum lane_sum(int64_t count, const Term& term) {
  constexpr int kSums = 32;
  Sum lanes[kSums] = {};
  const int64_t whole = count / kSums * kSums;
  for (int64_t i = 0; i < whole; i += kSums) {
#pragma omp simd
    for (int lane = 0; lane < kSums; ++lane) lanes[lane] += term(i + lane);
  }
  for (int64_t i = whole; i < count; ++i) lanes[i - whole] += term(i);
  for (int width = kSums / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  return lanes[0];
}

// e^x within 1.1 ulp for every f32, denormal results included; +inf from 88.72284 on, 0 below -103.98, NaN for NaN.
// Cody-Waite reduction to [-ln 2 / 2, ln 2 / 2] and the minimax polynomial of Cephes' expf (Moshier).
[[gnu::always_inline]] inline float exp_f32(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which then sits in the low mantissa bits
  const float upper = x > 89.0f ? 89.0f : x;
  const float clamped = upper < -104.0f ? -104.0f : upper;
  const float shifted = clamped * 1.44269504088896341f + kRound;
  const float k = shifted - kRound;
  const float r = (clamped - k * 0.693359375f) - k * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float fraction = (p * r) * r + r + 1.0f;
  // 2^k in two factors, because k reaches from -150 to 128.
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(exponent) >> 1);
  const float first = std::bit_cast<float>((half + 127u) << 23);
  const float second = std::bit_cast<float>((exponent - half + 127u) << 23);
  return fraction * first * second;
}

// 1 / (1 + e^-x); 0 and 1 far out.
[[gnu::always_inline]] inline float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }

}  // namespace drover::cpu
