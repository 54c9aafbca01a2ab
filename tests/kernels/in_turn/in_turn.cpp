// in_turn BEFORE.so NOW.so ROUNDS [TEXT]: the cases of both modules whose names hold TEXT, in turn in one process and on the same memory, so that
// neither the machine's other work nor the pages that a process happened to get tell them apart. For each case: the time of
// either that a tenth of its runs stay below, and the median over the rounds of BEFORE's time by NOW's.
#include <dlfcn.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/kernels/in_turn/cases.h"

namespace {

constexpr size_t kBytes = size_t{3} << 30, kPage = 4096, kHugePage = size_t{2} << 20;
std::byte* arena = nullptr;
size_t used = 0;

std::byte* take(size_t bytes) {
  std::byte* const at = arena + used;
  used += (bytes + kPage - 1) / kPage * kPage;
  if (used > kBytes) {
    std::fprintf(stderr, "in_turn: operands of more than %zu bytes\n", kBytes);
    std::exit(1);
  }
  return at;
}

struct Module {
  decltype(&drover_case_name) name;
  decltype(&drover_run_case) run;
  int count;

  explicit Module(const char* path) {
    void* const handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      std::fprintf(stderr, "in_turn: %s\n", dlerror());
      std::exit(1);
    }
    name = reinterpret_cast<decltype(name)>(dlsym(handle, "drover_case_name"));
    run = reinterpret_cast<decltype(run)>(dlsym(handle, "drover_run_case"));
    used = 0;
    count = reinterpret_cast<decltype(&drover_cases)>(dlsym(handle, "drover_cases"))(take);
  }
  double microseconds(int number) const {
    const auto begin = std::chrono::steady_clock::now();
    run(number);
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  }
};

// The value that `part` of them stay below.
double quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(part * static_cast<double>(values.size()))];
}

}  // namespace

int main(int count, char** argument) {
  if (count < 4) return std::fprintf(stderr, "in_turn BEFORE.so NOW.so ROUNDS [TEXT]\n"), 2;
  arena = static_cast<std::byte*>(std::aligned_alloc(kHugePage, kBytes));
  madvise(arena, kBytes, MADV_HUGEPAGE);
  // One core, and so one thread.
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(sched_getcpu(), &core);
  sched_setaffinity(0, sizeof core, &core);
  const Module modules[] = {Module(argument[1]), Module(argument[2])};
  const int rounds = std::max(1, std::atoi(argument[3]));
  std::printf("%-66s %10s %10s %7s\n", "best tenth, microseconds", "before", "now", "ratio");
  for (int number = 0; number < std::min(modules[0].count, modules[1].count); ++number) {
    const std::string name = modules[1].name(number);
    if (count > 4 && name.find(argument[4]) == std::string::npos) continue;
    std::vector<double> times[2], ratios;
    for (int round = 0; round < rounds; ++round) {
      double of_round[2];
      for (int turn = 0; turn < 2; ++turn) {
        const int which = (turn + round) % 2;
        of_round[which] = modules[which].microseconds(number);
      }
      times[0].push_back(of_round[0]);
      times[1].push_back(of_round[1]);
      ratios.push_back(of_round[0] / of_round[1]);
    }
    std::printf("%-66s %10.0f %10.0f %7.3f\n", name.c_str(), quantile(times[0], 0.1), quantile(times[1], 0.1),
                quantile(ratios, 0.5));
    std::fflush(stdout);
  }
}
