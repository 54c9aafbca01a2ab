#include "kernels/base/threads.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace drover {
namespace {

using Parts = std::set<std::pair<int64_t, int64_t>>;

Parts parts_of(int64_t count, int64_t grain) {
  Parts parts;
  std::mutex mutex;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    const std::lock_guard lock(mutex);
    parts.insert({begin, end});
  });
  return parts;
}

TEST(Threads, PartsCoverTheRangeOnceInPartsOfAtLeastTheGrain) {
  for (int count : {1, 2, 3, 7}) {
    set_threads(count);
    for (int64_t n : {1, 2, 5, 63, 64, 65, 1000})
      for (int64_t grain : {1, 3, 64}) {
        int64_t next = 0;
        const Parts parts = parts_of(n, grain);
        for (const auto& [begin, end] : parts) {
          EXPECT_EQ(begin, next);
          EXPECT_TRUE(end - begin >= grain || parts.size() == 1) << n << " grain " << grain;
          next = end;
        }
        EXPECT_EQ(next, n);
        EXPECT_EQ(static_cast<int64_t>(parts.size()), std::max<int64_t>(1, std::min<int64_t>(n / grain, count)));
      }
  }
}

TEST(Threads, NothingToDoCallsNothing) {
  parallel_for(0, 1, [](int64_t, int64_t) { FAIL(); });
  EXPECT_THROW(parallel_for(4, 0, [](int64_t, int64_t) {}), Error);
}

TEST(Threads, PartsAreTheSameFromAnotherThreadAndInsideAPart) {
  set_threads(3);
  const Parts expected = parts_of(100, 1);
  EXPECT_EQ(expected.size(), 3u);
  std::thread([&] { EXPECT_EQ(parts_of(100, 1), expected); }).join();
  parallel_for(3, 1, [&](int64_t, int64_t) { EXPECT_EQ(parts_of(100, 1), expected); });
}

TEST(Threads, SetThreadsBeatsOpenMPsOwnSettings) {
  omp_set_num_threads(1);
  omp_set_dynamic(1);
  set_threads(4);
  EXPECT_EQ(threads(), 4);
  EXPECT_EQ(omp_get_max_threads(), 4);
  EXPECT_EQ(omp_get_dynamic(), 0);
  std::atomic<int> team{0};
  parallel_for(4, 1, [&](int64_t, int64_t) { team = omp_get_num_threads(); });
  EXPECT_EQ(team, 4);
  EXPECT_EQ(parts_of(4, 1).size(), 4u);
}

// The environment is read when a process starts, so this case starts its own binary again under a hostile one.
TEST(Threads, SetThreadsBeatsTheEnvironment) {
  const std::string self = ::testing::internal::GetArgvs().at(0);
  const std::string command = "OMP_NUM_THREADS=1 OMP_DYNAMIC=true OMP_THREAD_LIMIT=2 OMP_NESTED=true '" + self +
                              "' --gtest_filter=Threads.PartsCover*:Threads.PartsAreTheSame* > /dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0);
  const std::string dynamic =
      "OMP_NUM_THREADS=1 OMP_DYNAMIC=true '" + self + "' --gtest_filter=Threads.SetThreadsBeatsOpenMP* > /dev/null";
  EXPECT_EQ(std::system(dynamic.c_str()), 0);
}

TEST(Threads, BeforeSetThreadsTheAffinityMaskCounts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fresh process, in which no other case has set the count
  EXPECT_EXIT(std::exit(threads() == available_cores() ? 0 : 1), ::testing::ExitedWithCode(0), "");
  cpu_set_t old, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof old, &old), 0);
  CPU_ZERO(&one);
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &old)) {
      CPU_SET(core, &one);
      break;
    }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(available_cores(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof old, &old), 0);
  EXPECT_EQ(available_cores(), CPU_COUNT(&old));
}

TEST(Threads, TheFirstFailedPartsExceptionArrives) {
  set_threads(4);
  std::atomic<int> ran{0};
  try {
    parallel_for(4, 1, [&](int64_t begin, int64_t) {
      ++ran;
      if (begin >= 1) throw std::runtime_error("part " + std::to_string(begin));
    });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "part 1");
  }
  EXPECT_EQ(ran, 4);
}

TEST(Threads, ACountBelowOneIsRefused) { EXPECT_THROW(set_threads(0), Error); }

}  // namespace
}  // namespace drover
