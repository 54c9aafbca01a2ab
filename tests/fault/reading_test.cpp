// A disk that fails while training runs: for a while, and for good; and a bit that flipped on it.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Process;

struct FailingDisk : ::testing::Test {
  FailingDisk() { sandbox.configure({{"train.steps", "30"}}); }
  void SetUp() override {
    if (!fs::exists(DROVER_BUILD_DIR "/libslow_pages.so")) GTEST_SKIP() << "not with sanitizers, which read by themselves";
  }
  // Two ranks on a disk that fails while the file `failing` is there.
  std::vector<std::string> command() const {
    return with({"env", "LD_PRELOAD=" DROVER_BUILD_DIR "/libslow_pages.so", "DROVER_PAGE_MILLISECONDS=4",
                 "DROVER_FAILING_READS=" + failing().string()});
  }
  // The command of each rank, behind `before`.
  std::vector<std::string> with(const std::vector<std::string>& before) const {
    std::vector<std::string> command = sandbox.on_ranks(2, sandbox.train_arguments({2, 1, 1}, "run", {}));
    command.insert(std::find(command.begin(), command.end(), testing::drover_program()), before.begin(), before.end());
    return command;
  }
  // data_share of the longest step.
  double longest_share() const {
    double longest = 0, share = 0;
    for (const auto& row : sandbox.metrics("run"))
      if (row.contains("data_share") && row["seconds"].get<double>() > longest)
        longest = row["seconds"].get<double>(), share = row["data_share"].get<double>();
    return share;
  }
  fs::path failing() const { return sandbox.path() / "failing"; }
  testing::Sandbox sandbox;
};

TEST_F(FailingDisk, ThatComesBackIsWaitedFor) {
  Process run(command(), sandbox.path());
  ASSERT_TRUE(run.wait_for("step 3/30")) << run.output();
  std::ofstream(failing()) << "";
  ASSERT_TRUE(run.run_for(2)) << run.output();
  EXPECT_LT(sandbox.metrics("run").size(), 30u) << "it read nothing meanwhile";
  fs::remove(failing());
  const auto outcome = run.wait();
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("% waiting for data"), std::string::npos) << outcome.output;
  EXPECT_GT(longest_share(), 0.5) << "the longest step did not wait for data";
  ASSERT_EQ(sandbox.train({2, 1, 1}, "whole").code, 0);
  testing::expect_equal_tensors(sandbox.checkpoint("whole", 30), sandbox.checkpoint("run", 30));
}

TEST_F(FailingDisk, OfAnotherRankIsWaitedForByAll) {
  Process run(with({"sh", "-c",
                    "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then export LD_PRELOAD=" DROVER_BUILD_DIR
                    "/libslow_pages.so DROVER_PAGE_MILLISECONDS=4 DROVER_FAILING_READS=" +
                        failing().string() + "; fi; exec \"$0\" \"$@\""}),
              sandbox.path());
  ASSERT_TRUE(run.wait_for("step 3/30")) << run.output();
  std::ofstream(failing()) << "";
  ASSERT_TRUE(run.run_for(2)) << run.output();
  fs::remove(failing());
  const auto outcome = run.wait();
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_GT(longest_share(), 0.5) << "rank 0 knows nothing of rank 1's wait";
}

TEST_F(FailingDisk, ThatStaysAwayEndsTheRunWithItsName) {
  Process run(command(), sandbox.path());
  ASSERT_TRUE(run.wait_for("step 3/30")) << run.output();
  std::ofstream(failing()) << "";
  const auto outcome = run.wait();
  testing::expect_one_error(outcome, 4,
                            {"after step ", "data/shard_0000", ".tokens: Input/output error", "on host ", "tried 8 times"});
}

TEST_F(FailingDisk, AFlippedBitIsFoundWhileTraining) {
  sandbox.configure({{"train.steps", "100000"}});
  const fs::path shard = sandbox.path() / "data/shard_00001.tokens";
  {
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1000);
    file.put('q');
    file.put('\0');
  }
  const auto outcome = sandbox.train({2, 1, 1}, "run");
  testing::expect_one_error(
      outcome, 4, {"data/shard_00001.tokens: the checksum of tokens and document ends does not match", "prepare it again"});
}

}  // namespace
}  // namespace drover
