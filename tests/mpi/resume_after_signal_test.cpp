// A signal reaches any thread of a process, as the system likes: the loader's as well as the one that trains.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

std::vector<pid_t> threads_beside_main(pid_t process) {
  std::vector<pid_t> threads;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task"))
    if (const pid_t thread = std::stoi(entry.path().filename()); thread != process) threads.push_back(thread);
  return threads;
}

TEST(StopOneRank, WhenTheLoadersThreadGetsTheSignal) {
  constexpr int kSteps = 150;
  testing::Sandbox sandbox;
  sandbox.configure({{"train.steps", std::to_string(kSteps)}, {"checkpoint.every", "50"}});
  testing::Process run(sandbox.on_ranks(1, sandbox.train_arguments({}, "run", {})), sandbox.path());
  ASSERT_TRUE(run.wait_for("step 5/")) << run.output();
  const std::vector<pid_t> threads = threads_beside_main(run.pid());
  ASSERT_FALSE(threads.empty()) << "no thread loads data";
  for (const pid_t thread : threads) ASSERT_EQ(syscall(SYS_tgkill, run.pid(), thread, SIGUSR1), 0);
  const testing::Outcome stopped = run.wait();
  ASSERT_EQ(stopped.code, 75) << stopped.output;
  ASSERT_LT(sandbox.metrics("run").back()["step"].get<int>(), kSteps) << "the run was over before it was stopped";
  const testing::Outcome resumed = sandbox.resume({}, "run");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const testing::Outcome whole = sandbox.train({}, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  testing::expect_equal_tensors(sandbox.checkpoint("whole", kSteps), sandbox.checkpoint("run", kSteps));
  EXPECT_EQ(testing::without_timings(sandbox.metrics("whole")), testing::without_timings(sandbox.metrics("run")));
}

}  // namespace
}  // namespace drover
