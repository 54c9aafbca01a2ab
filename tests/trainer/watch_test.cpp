// A communicator that failed while the step went on: its results may be anything, so nobody may go on with them.
#include "trainer/watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace drover {
namespace {

constexpr int kReturned = 1, kEnded = 42;

// As GroupWatch does: a thread says it, and ends the process later.
void fail_within_a_step() {
  World world(LauncherView{});
  RunConfig run;
  run.dir = "runs/lost";
  History history(std::filesystem::temp_directory_path(), false);
  Watch watch(world, run, history);
  watch.after_step(7);
  std::thread([&] {
    watch.communicator_failed("NCCL's tp is gone");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    std::_Exit(kEnded);
  }).detach();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  watch.after_step(8);
  std::_Exit(kReturned);
}

TEST(Watch, NoStepEndsAfterACommunicatorFailed) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(fail_within_a_step(), ::testing::ExitedWithCode(kEnded),
              "error: after step 7: NCCL's tp is gone; `drover resume runs/lost` continues from the last checkpoint");
}

}  // namespace
}  // namespace drover
