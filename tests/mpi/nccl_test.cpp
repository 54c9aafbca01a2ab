// NCCL's communicator on a stand-in of the library (tests/simt/nccl.cpp): values, which GPU a rank takes, and every way to fail.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Outcome;
using testing::Process;
using testing::Sandbox;

constexpr int kCommunication = 6, kHardware = 8;

bool says(const Outcome& outcome, const std::string& text) { return outcome.output.find(text) != std::string::npos; }

struct WithNccl : ::testing::Test {
  void SetUp() override {
    if (!DROVER_WITH_NCCL) GTEST_SKIP() << "this build is without NCCL";
  }
};

class NcclRanks : public WithNccl, public ::testing::WithParamInterface<int> {};

Outcome check_communicator(int ranks, const std::string& mode) {
  return testing::run_command(
      {testing::mpirun_script(), "-np", std::to_string(ranks), std::string(DROVER_BUILD_DIR) + "/check_communicator_on_simt", mode},
      "/");
}

TEST_P(NcclRanks, CollectivesGiveTheExactValues) {
  const Outcome outcome = check_communicator(GetParam(), "nccl");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "all values are right"), 1) << outcome.output;
}
INSTANTIATE_TEST_SUITE_P(Communicator, NcclRanks, ::testing::Values(2, 3, 4),
                         [](const auto& test) { return std::to_string(test.param); });

struct NcclSetUp : WithNccl {};

TEST_F(NcclSetUp, WhatNcclRefusesIsSaid) {
  const Outcome outcome = check_communicator(3, "crowded");
  EXPECT_EQ(outcome.code, kCommunication) << outcome.output;
  EXPECT_TRUE(says(outcome, "communicator world, rank 0 of 3 (rank 0@")) << outcome.output;
  EXPECT_TRUE(says(outcome, "set-up with rank ")) << outcome.output;
  EXPECT_TRUE(says(outcome, "Duplicate GPU detected : rank 0 and rank 1")) << outcome.output;
}

TEST_F(NcclSetUp, ARankThatDoesNotComeEndsTheOthers) {
  const Outcome outcome = check_communicator(3, "late");
  EXPECT_EQ(outcome.code, kCommunication) << outcome.output;
  EXPECT_TRUE(says(outcome, "failed: not all ranks came within 1 s")) << outcome.output;
}

TEST_F(NcclSetUp, TheOperationThatHangsIsNamedOnce) {
  const Outcome outcome = testing::run_command(
      {testing::mpirun_script(), "-np", "2", std::string(DROVER_BUILD_DIR) + "/check_communicator_on_simt", "fails"}, "/",
      {"DROVER_SIMT_NCCL_FAILS=3"});
  EXPECT_EQ(outcome.code, kCommunication) << outcome.output;
  EXPECT_TRUE(says(outcome, "): all_reduce of 300 f32, its operation 3, with rank ")) << outcome.output;
  for (const char* rank : {"rank 0", "rank 1"})
    EXPECT_LE(testing::count(outcome.output, std::string("communicator world, ") + rank + " of 2 ("), 1) << outcome.output;
}

class Nccl : public WithNccl {
 protected:
  Nccl() : sandbox_(DROVER_BUILD_DIR "/drover_on_simt") {
    sandbox_.configure({{"train.steps", "3"}, {"optimizer.warmup_steps", "1"}, {"model.layers", "2"}, {"train.micro_batch", "6"}});
  }
  // `shell` is run by each rank before the program; $R is its rank.
  std::vector<std::string> command(const Layout& layout, const std::string& run, const std::string& shell,
                                   std::vector<std::string> set) const {
    set.insert(set.begin(), "run.device=cuda");
    std::vector<std::string> words = sandbox_.on_ranks(layout.ranks(), sandbox_.train_arguments(layout, run, set));
    const std::string script = "R=$OMPI_COMM_WORLD_RANK; " + shell + "; exec \"$@\"";
    words.insert(words.begin() + 3, {"bash", "-c", script, "bash"});  // after mpirun.sh -np N
    return words;
  }
  Outcome train(const Layout& layout, const std::string& run, const std::string& shell,
                const std::vector<std::string>& set = {}) const {
    return testing::run_command(command(layout, run, shell, set), sandbox_.path());
  }
  std::string last_row_of_history(const std::string& run) const {
    std::ifstream history(sandbox_.path() / run / "history.jsonl");
    std::string row, last;
    while (std::getline(history, row)) last = row;
    return last;
  }
  Sandbox sandbox_;
};

// What a GPU waits for will never end, and so will the host's wait for that GPU.
TEST_F(Nccl, AFailureOfOneRankEndsTheRunWithItsNames) {
  const Outcome outcome = train({2, 2, 2}, "run", "[ $R != 3 ] || export DROVER_SIMT_NCCL_FAILS=100", {"train.steps=100000"});
  testing::expect_one_error(
      outcome, kCommunication,
      {"after step ", "communicator tp, rank 1 of 2 (rank 3@", " f32, its operation ", ", with rank 2@",
       "remote process exited or there was a network error", "`drover resume run` continues from the last checkpoint"});
  EXPECT_NE(last_row_of_history("run").find("communicator tp, rank 1 of 2"), std::string::npos) << last_row_of_history("run");
}

TEST_F(Nccl, AFailureOfAllRanksIsSaidOnce) {
  testing::expect_one_error(train({1, 1, 2}, "run", "export DROVER_SIMT_NCCL_FAILS=20", {"train.steps=100000"}), kCommunication,
                            {"after step ", "communicator pp, rank 0 of 2 (rank 0@", " f32, its operation ", ", with rank 1@"});
}

TEST_F(Nccl, AKilledRankEndsTheRun) {
  Process job(command({2, 2, 1}, "run", ":", {"train.steps=100000"}), sandbox_.path());
  ASSERT_TRUE(job.wait_for("step 3/")) << job.output();
  const std::vector<pid_t> ranks = testing::descendants(job.pid(), "drover_on_simt");
  ASSERT_EQ(ranks.size(), 4u);
  ASSERT_EQ(kill(ranks[2], SIGKILL), 0);
  EXPECT_NE(job.wait().code, 0);
  for (const pid_t rank : ranks) {
    for (int tenth = 0; tenth < 150 && kill(rank, 0) == 0; ++tenth) usleep(100000);
    EXPECT_NE(kill(rank, 0), 0) << "the rank of process " << rank << " is still there";
  }
}

TEST_F(Nccl, AStoppedRankEndsTheRunWithItsName) {
  Process job(command({2, 2, 1}, "run", ":", {"train.steps=100000", "run.heartbeat_seconds=2"}), sandbox_.path());
  ASSERT_TRUE(job.wait_for("step 3/")) << job.output();
  const std::vector<pid_t> ranks = testing::descendants(job.pid(), "drover_on_simt");
  ASSERT_EQ(ranks.size(), 4u);
  ASSERT_EQ(kill(ranks[1], SIGSTOP), 0);
  testing::expect_one_error(job.wait(), kCommunication, {"after step ", "nothing heard of rank ", " for 2 s"});
}

// As Slurm's --gpus-per-task shows them: each rank sees one.
TEST_F(Nccl, ARankThatSeesOneGpuTakesIt) {
  const Outcome outcome = train({2, 1, 1}, "run", "export CUDA_VISIBLE_DEVICES=$((6 - R))");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(says(outcome, " (ranks 0 to 1): NUMA node unknown: 0000:7a:00.0, 0000:6a:00.0\n")) << outcome.output;
  EXPECT_TRUE(says(outcome, "\ncomm    NCCL ")) << outcome.output;
}

TEST_F(Nccl, RanksOnOneGpuAreRefusedOrShareIt) {
  const std::string one = "export CUDA_VISIBLE_DEVICES=5";
  for (const std::string communication : {"auto", "nccl", "host"})
    testing::expect_one_error(
        train({2, 1, 1}, "refused", one, {"run.communication=" + communication}), kHardware,
        {"ranks 0 to 1 on ", " have the same GPU, 0000:6a:00.0: run.ranks_per_gpu is 1", "`run.ranks_per_gpu: 2`"});
  EXPECT_FALSE(std::filesystem::exists(sandbox_.path() / "refused" / "metrics.jsonl"));
  const Outcome host = train({2, 1, 1}, "host", one, {"run.ranks_per_gpu=2"});
  EXPECT_EQ(host.code, 0) << host.output;
  EXPECT_TRUE(says(host, "0000:6a:00.0 for 2 ranks\ncomm    host memory and MPI, because ranks share GPUs")) << host.output;
  const Outcome nccl = train({2, 1, 1}, "nccl", one, {"run.ranks_per_gpu=2", "run.communication=nccl"});
  EXPECT_EQ(nccl.code, 0) << nccl.output;
  EXPECT_TRUE(says(nccl, "comm    NCCL ")) << nccl.output;
  EXPECT_LE(testing::largest_difference(sandbox_.metrics("host"), sandbox_.metrics("nccl"), "loss"), 1e-5);
}

TEST_F(Nccl, ARankWithFewerGpusIsNamed) {
  testing::expect_one_error(train({2, 2, 1}, "run", "export DROVER_SIMT_GPUS=$((R == 3 ? 2 : 4))"), kHardware,
                            {"1 of 4 ranks have no GPU (", ": 4 ranks, 2 GPUs, run.ranks_per_gpu 1)"});
  testing::expect_one_error(train({2, 2, 1}, "run", "export DROVER_SIMT_GPUS=$((R == 3 ? 1 : 4))"), kHardware,
                            {"ranks 0, 3 on ", " have the same GPU, 0000:1a:00.0"});
}

TEST_F(Nccl, WithoutTheLibraryAllRanksGoByHostMemoryOrNone) {
  const std::string absent = "export DROVER_SIMT_NCCL_ABSENT=1", somewhere = "[ $R != 1 ] || " + absent;
  const Outcome host = train({2, 1, 1}, "host", absent);
  EXPECT_EQ(host.code, 0) << host.output;
  EXPECT_EQ(testing::count(host.output, "comm    host memory and MPI, slowly: libnccl.so.2 cannot be opened"), 1) << host.output;
  std::ifstream file(sandbox_.path() / "host" / "config.yaml");
  const std::string config{std::istreambuf_iterator<char>(file), {}};
  EXPECT_NE(config.find("communication: \"host\""), std::string::npos) << config;
  testing::expect_one_error(
      train({2, 1, 1}, "a", absent, {"run.communication=nccl"}), kHardware,
      {"run.communication nccl: 2 of 2 ranks have no NCCL (", ": libnccl.so.2 cannot be opened)", "`run.communication: host`"});
  testing::expect_one_error(train({2, 1, 1}, "b", somewhere), kHardware, {"run.communication auto: 1 of 2 ranks have no NCCL ("});
}

}  // namespace
}  // namespace drover
