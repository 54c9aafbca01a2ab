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

// 2^x within 1.1 ulp for x in [-126, 128), 1 for 0, +inf for 128; below 2^-126, which beside 1 is nothing; NaN for NaN.
// 2^x = 2^k (1 + r q(r)), r in [-1/2, 1/2]: q minimises the largest relative error (2e-9).
[[gnu::always_inline]] inline float exp2_f32(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which then sits in the low mantissa bits
  const float clamped = x < -126.0f ? -126.0f : x;
  const float shifted = clamped + kRound;
  const float r = clamped - (shifted - kRound);
  float q = 1.5353362e-4f;
  q = q * r + 1.3398875e-3f;
  q = q * r + 9.6184369e-3f;
  q = q * r + 5.5503324e-2f;
  q = q * r + 2.4022648e-1f;
  q = q * r + 6.9314718e-1f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(q * r + 1.0f) + (std::bit_cast<uint32_t>(shifted) << 23));
}

constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

// e^x for x <= 0, as softmax wants it: relative error 1.1 ulp, and |x| / 2^23 from the product; no less than 2^-126.
[[gnu::always_inline]] inline float exp_f32(float x) { return exp2_f32(x * kLog2E); }

// 1 / (1 + e^-x); 0 and 1 far out.
[[gnu::always_inline]] inline float sigmoid_f32(float x) {
  const float exponent = x * -kLog2E;
  return 1.0f / (1.0f + exp2_f32(exponent > 128.0f ? 128.0f : exponent));
}

}  // namespace drover::cpu
