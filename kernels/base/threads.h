// Threads of one process's ops. The count is set once, from run.threads, and no environment variable changes it.
#pragma once
#include <cstdint>
#include <vector>

namespace drover {

std::vector<int> affinity_mask();  // the cores that this process may run on
int available_cores();             // how many they are; at least 1
void set_threads(int threads);     // for every op, oneDNN's included; REQUIRES: threads >= 1; not while ops run
int threads();                     // the count set, or available_cores() before set_threads

// For more threads than cores. OpenMP's waiting threads spin for milliseconds, which keeps the working ones from the core, unless
// OMP_WAIT_POLICY says otherwise when the program is loaded: starts this program over with the same arguments and `passive`, and returns
// where that is done, or where the environment decides already (OMP_WAIT_POLICY, GOMP_SPINCOUNT). REQUIRES: nothing was done yet.
void wait_passively();

// body(begin, end) over [0, count) in contiguous parts of at least `grain` (>= 1), at most one a thread; a count below 2 * grain is
// one part. Part boundaries depend on count, grain and threads() only, even when fewer threads turn up (a nested call runs its
// parts one after another). Returns when all parts are done; then rethrows what the first failed part threw.
template <class Body> void parallel_for(int64_t count, int64_t grain, Body&& body);

}  // namespace drover

#include "kernels/base/threads_impl.h"
