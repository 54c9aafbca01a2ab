// The memory bandwidth that benchmarks compare with, measured in the same process with the same threads.
#pragma once
#include <benchmark/benchmark.h>

#include "kernels/measure.h"

namespace drover::testing {

inline double copy_bandwidth() {
  static const double rate = measure_copy_rate();
  return rate;
}

// Columns "GB/s" and "of_copy" from what the ops charged to `stream`, and the time they took; above 1 where caches hold the tensors.
inline void report_bandwidth(benchmark::State& state, const Stream& stream, OpKind kind) {
  const double rate = static_cast<double>(stream.totals(kind).bytes) / stream.totals(kind).seconds;
  state.counters["GB/s"] = rate / 1e9;
  state.counters["of_copy"] = rate / copy_bandwidth();
}

}  // namespace drover::testing
