// The memory bandwidth that benchmarks compare with, measured in the same process with the same threads.
#pragma once
#include <benchmark/benchmark.h>

#include "kernels/measure.h"

namespace drover::testing {

inline double copy_bandwidth() {
  static const double rate = measure_copy_rate();
  return rate;
}

// Columns "GB/s" and "of_copy" from what the ops charged to `stream`; above 1 where caches hold the tensors. The benchmark must
// UseRealTime().
inline void report_bandwidth(benchmark::State& state, const Stream& stream, OpKind kind) {
  const double bytes = static_cast<double>(stream.totals(kind).bytes);
  state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_copy"] = benchmark::Counter(bytes / copy_bandwidth(), benchmark::Counter::kIsRate);
}

}  // namespace drover::testing
