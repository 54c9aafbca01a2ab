#include "kernels/base/threads.h"

#include <sched.h>

#include <atomic>

#include "kernels/base/error.h"

namespace drover {
namespace {

// The one process-wide setting of the cpu device, as OpenMP's own thread count is.
std::atomic<int>& configured() {
  static std::atomic<int> count{0};
  return count;
}

}  // namespace

int available_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  return std::max(1, CPU_COUNT(&mask));
}

void set_threads(int threads) {
  DROVER_CHECK(threads >= 1, "thread count " + std::to_string(threads));
  configured() = threads;
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
}

int threads() {
  const int count = configured();
  return count > 0 ? count : available_cores();
}

}  // namespace drover
