#include "kernels/base/threads.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels/base/error.h"

namespace drover {

namespace {

// The one process-wide setting; OpenMP's own is per thread, and threads that never called set_threads must see it too.
std::atomic<int>& thread_count() {
  static std::atomic<int> count{0};
  return count;
}

}  // namespace

std::vector<int> affinity_mask() {
  for (int cores = 1024;; cores *= 2) {
    cpu_set_t* set = CPU_ALLOC(cores);
    const size_t bytes = CPU_ALLOC_SIZE(cores);
    const bool known = set != nullptr && sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !known && set != nullptr && errno == EINVAL && cores < (1 << 20);
    std::vector<int> mask;
    for (int core = 0; known && core < cores; ++core)
      if (CPU_ISSET_S(static_cast<size_t>(core), bytes, set)) mask.push_back(core);
    if (set != nullptr) CPU_FREE(set);
    if (!too_small) return mask;
  }
}

int available_cores() { return std::max(1, static_cast<int>(affinity_mask().size())); }

void set_threads(int threads) {
  DROVER_CHECK(threads >= 1, "set_threads(" + std::to_string(threads) + ")");
  thread_count() = threads;
  omp_set_dynamic(0);
  omp_set_num_threads(threads);  // what oneDNN asks
}

int threads() {
  const int count = thread_count();
  return count > 0 ? count : available_cores();
}

void wait_passively() {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  if (arguments.empty()) return;
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  setenv("OMP_WAIT_POLICY", "passive", 0);
  execv("/proc/self/exe", pointers.data());
  unsetenv("OMP_WAIT_POLICY");  // it could not: the threads spin
}

namespace detail {

int parts_of(int64_t count, int64_t grain) {
  DROVER_CHECK(grain >= 1, "parallel_for with grain " + std::to_string(grain));
  const int64_t most = count / grain;
  return most <= 1 ? 1 : static_cast<int>(std::min<int64_t>(most, threads()));
}

void run_parts(int parts, void (*run_part)(void* context, int part), void* context) {
  std::exception_ptr failure;
  int failed_part = parts;
  std::mutex mutex;
  const auto run = [&](int part) {
    try {
      run_part(context, part);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (part >= failed_part) return;
      failed_part = part;
      failure = std::current_exception();
    }
  };
#ifdef __SANITIZE_THREAD__
  // The sanitizer does not see the barriers of OpenMP's library, and would call every result of a part a race. It knows these threads.
  std::vector<std::thread> team;
  for (int part = 1; part < parts; ++part) team.emplace_back(run, part);
  run(0);
  for (std::thread& thread : team) thread.join();
#else
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; ++part) run(part);
#endif
  if (failure) std::rethrow_exception(failure);
}

}  // namespace detail

}  // namespace drover
