// Compiles a function for processors with AVX512-BF16, which round to bf16 and multiply pairs of it in one instruction each.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define DROVER_BF16_DOT __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace drover::cpu {

inline bool has_bf16_dot() {
  static const bool it_has = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl") &&
                             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return it_has;
}

// 32 f32, rounded to nearest even; what would be denormal becomes 0.
[[gnu::always_inline]] DROVER_BF16_DOT inline __m512i round_to_bf16(const float* low, const float* high) {
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(high), _mm512_loadu_ps(low));
}

}  // namespace drover::cpu
#endif
