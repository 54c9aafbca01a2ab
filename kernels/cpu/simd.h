// Loops compiled once for each vector width, the processor's best chosen at run time, over the threads of parallel_for.
//
// The body is inlined into one function for each width, so write it as
//   simd_for(rows, grain, [&](int64_t begin, int64_t end) __attribute__((always_inline)) { ... });
// with `#pragma omp simd` where the compiler must be told, and call only functions that inline.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/base/threads.h"

namespace drover::cpu {

// clang-format off
#if defined(__x86_64__) && defined(__GNUC__)
template <class Body> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,bmi2")]]
void run_avx512(const Body& body, int64_t begin, int64_t end) { body(begin, end); }
template <class Body> [[gnu::target("avx2,fma,bmi2")]]
void run_avx2(const Body& body, int64_t begin, int64_t end) { body(begin, end); }

template <class Body> void run_vectorised(const Body& body, int64_t begin, int64_t end) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512) return run_avx512(body, begin, end);
  if (avx2) return run_avx2(body, begin, end);
  body(begin, end);
}
#else
template <class Body> void run_vectorised(const Body& body, int64_t begin, int64_t end) { body(begin, end); }
#endif
// clang-format on

// The least number of rows worth a thread of its own.
inline int64_t row_grain(int64_t columns) { return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, columns)); }

// body(begin, end) over [0, count), a thread each part of at least `grain`.
template <class Body> void simd_for(int64_t count, int64_t grain, const Body& body) {
  parallel_for(count, grain, [&](int64_t begin, int64_t end) { run_vectorised(body, begin, end); });
}

// The same for elementwise loops: parts begin at multiples of a block, so that an element meets the same code (vector body or
// remainder) with any thread count.
template <class Body> void simd_elements(int64_t count, const Body& body) {
  constexpr int64_t kBlock = 1024;
  parallel_for((count + kBlock - 1) / kBlock, 8,
               [&](int64_t begin, int64_t end) { run_vectorised(body, begin * kBlock, std::min(count, end * kBlock)); });
}

}  // namespace drover::cpu
