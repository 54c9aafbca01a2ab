// Threads of one process's ops. An environment variable never changes results: the count is set once, from run.threads.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace drover {

int available_cores();          // cores of this process's affinity mask
void set_threads(int threads);  // for all ops (OpenMP, and oneDNN, which uses OpenMP), whatever OMP_NUM_THREADS says
int threads();                  // the count set, or available_cores() before set_threads

// body(begin, end) over [0, count) in contiguous parts of at least `grain`, one a thread. The parts' boundaries depend on count, grain and
// the thread count only. body must not throw.
template <class Body> void parallel_for(int64_t count, int64_t grain, Body&& body) {
  const int64_t parts = std::clamp<int64_t>(count / std::max<int64_t>(grain, 1), 1, threads());
  if (parts == 1) return count > 0 ? body(int64_t{0}, count) : void();
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(parts))
  for (int64_t part = 0; part < parts; ++part) body(count * part / parts, count * (part + 1) / parts);
}

}  // namespace drover
