// The memory bandwidth that benchmarks compare with, measured in the same process with the same threads.
#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/base/threads.h"
#include "kernels/stream.h"

namespace drover::testing {

// Bytes read plus bytes written a second by a copy that no cache holds: the best of ten.
inline double copy_bandwidth() {
  static const double best = [] {
    constexpr int64_t kBytes = int64_t{128} << 20;
    std::vector<char> from(kBytes, 1), to(kBytes, 2);
    double rate = 0;
    for (int repeat = 0; repeat < 10; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      parallel_for(kBytes, 1 << 16, [&](int64_t begin, int64_t end) {
        std::memcpy(to.data() + begin, from.data() + begin, static_cast<size_t>(end - begin));
      });
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      rate = std::max(rate, 2 * kBytes / seconds.count());
    }
    return rate;
  }();
  return best;
}

// Columns "GB/s" and "of_copy" from what the ops charged to `stream`; above 1 where caches hold the tensors. The benchmark must
// UseRealTime().
inline void report_bandwidth(benchmark::State& state, const Stream& stream, OpKind kind) {
  const double bytes = static_cast<double>(stream.totals(kind).bytes);
  state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_copy"] = benchmark::Counter(bytes / copy_bandwidth(), benchmark::Counter::kIsRate);
}

}  // namespace drover::testing
