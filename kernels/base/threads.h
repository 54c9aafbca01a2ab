// Threads of one process's ops. An environment variable never changes results: the count is set once, from run.threads.
#pragma once
#include <cstdint>

namespace drover {

int available_cores();          // cores of this process's affinity mask
void set_threads(int threads);  // for all ops (OpenMP, oneDNN), whatever OMP_NUM_THREADS says
int threads();                  // the count set, or available_cores() before set_threads

// body(begin, end) over [0, count) in contiguous parts of at least `grain`, one a thread; part boundaries depend on count, grain
// and the thread count only.
template <class Body> void parallel_for(int64_t count, int64_t grain, Body&& body);

}  // namespace drover

#include "kernels/base/threads_impl.h"
