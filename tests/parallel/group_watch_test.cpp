// Communicators that fail while nobody calls them, and the process that ends for it.
#include "parallel/group_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "parallel/silent_communicator.h"

namespace drover {
namespace {

struct Fake final : SilentCommunicator {
  explicit Fake(bool hangs = false) : SilentCommunicator(0, 2, "fake"), hangs_(hangs) {}
  std::string failure() override {
    ++asked;
    return fails ? "the cable is cut" : "";
  }
  void abandon() override {
    std::fputs(" and let go", stderr);
    while (hangs_) std::this_thread::sleep_for(std::chrono::hours(1));
  }
  std::atomic<bool> fails = false;
  std::atomic<int> asked = 0;

 private:
  bool hangs_;
};

void fail_and_wait_forever(bool hangs) {
  Fake sound, broken(hangs);
  const GroupWatch watch({&sound, &broken}, [](const std::string& what) { std::fputs(("said: " + what).c_str(), stderr); });
  broken.fails = true;
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

TEST(GroupWatch, AFailureIsSaidAndEndsTheProcess) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(fail_and_wait_forever(false), ::testing::ExitedWithCode(6), "said: the cable is cut and let go and let go$");
}

TEST(GroupWatch, AnEndThatHangsIsNotWaitedFor) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(fail_and_wait_forever(true), ::testing::ExitedWithCode(6), "said: the cable is cut");
}

TEST(GroupWatch, AsksAllGroupsUntilItIsOver) {
  Fake first, second;
  {
    const GroupWatch watch({&first, &second}, [](const std::string&) {});
    while (first.asked < 2 || second.asked < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const int before = second.asked;
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(second.asked, before);
}

}  // namespace
}  // namespace drover
