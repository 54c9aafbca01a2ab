// A run on two hosts: tensor parallelism inside a host, data parallelism across; and every way in which a host can be wrong or go missing.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "tests/end_to_end/hosts.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Layout;
using testing::Outcome;
using testing::Process;
using testing::TwoHosts;

constexpr Layout kLayout{.dp = 2, .tp = 2, .pp = 1};

struct Hosts : ::testing::Test {
  void SetUp() override {
    static const std::string missing = TwoHosts::missing();
    if (!missing.empty()) GTEST_SKIP() << missing;
    sandbox.configure({});
    hosts.emplace(sandbox);
  }
  std::vector<std::string> command(const std::string& run, const std::vector<std::string>& set = {}) const {
    return hosts->on_ranks(kLayout.ranks(), sandbox.train_arguments(kLayout, run, set));
  }
  Outcome train(const std::string& run, const std::vector<std::string>& set = {}) const {
    return testing::run_command(command(run, set), sandbox.path());
  }
  Outcome resume(const std::string& run) const {
    return testing::run_command(hosts->on_ranks(kLayout.ranks(), {"resume", run}), sandbox.path());
  }
  static void expect_error(const Outcome& outcome, int code, const std::vector<std::string>& words) {
    testing::expect_one_error(outcome, code, words);
    EXPECT_EQ(outcome.output.find("mpirun", outcome.output.rfind("drover: error:")), std::string::npos) << outcome.output;
  }
  bool nothing_runs_on(int host) const {
    for (int tenth = 0; tenth < 150 && !hosts->processes(host, "drover").empty(); ++tenth) usleep(100000);
    return hosts->processes(host, "drover").empty();
  }

  testing::Sandbox sandbox;
  std::optional<TwoHosts> hosts;
};

TEST_F(Hosts, RanksFillOneHostAfterTheOther) {
  std::vector<std::string> list = hosts->on_ranks(4, {});
  list.back() = "sh";
  list.insert(list.end(), {"-c", "echo rank $OMPI_COMM_WORLD_RANK on $(hostname)"});
  const Outcome outcome = testing::run_command(list, sandbox.path());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("4 ranks on the 2 hosts of hostfile"), std::string::npos) << outcome.output;
  for (const char* place : {"rank 0 on hosta", "rank 1 on hosta", "rank 2 on hostb", "rank 3 on hostb"})
    EXPECT_EQ(testing::count(outcome.output, place), 1) << outcome.output;
}

TEST_F(Hosts, TrainAsOneHostDoes) {
  ASSERT_EQ(sandbox.train(kLayout, "one").code, 0);
  const Outcome outcome = train("two");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "no heartbeat"), 0) << outcome.output;
  EXPECT_EQ(testing::without_timings(sandbox.metrics("two")), testing::without_timings(sandbox.metrics("one")));
}

TEST_F(Hosts, StopSavesAndResumes) {
  ASSERT_EQ(sandbox.train(kLayout, "whole").code, 0);
  for (const int signal : {SIGINT, SIGUSR1}) {
    const std::string run = signal == SIGINT ? "interrupted" : "signalled";
    Process job(command(run), sandbox.path());
    ASSERT_TRUE(job.wait_for("step 3/")) << job.output();
    ASSERT_EQ(kill(job.pid(), signal), 0);
    const Outcome stopped = job.wait();
    ASSERT_EQ(stopped.code, 75) << stopped.output;
    EXPECT_NE(stopped.output.find("saved. `drover resume " + run), std::string::npos) << stopped.output;
    EXPECT_TRUE(nothing_runs_on(0) && nothing_runs_on(1));
    const Outcome resumed = resume(run);
    ASSERT_EQ(resumed.code, 0) << resumed.output;
    EXPECT_EQ(testing::without_timings(sandbox.metrics(run)), testing::without_timings(sandbox.metrics("whole")));
  }
}

// OpenMPI never notices: the ranks of both sides do.
TEST_F(Hosts, ACutNetworkEndsTheRunWithOneMessage) {
  Process job(command("run", {"train.steps=100000", "run.heartbeat_seconds=3", "checkpoint.every=2"}), sandbox.path());
  ASSERT_TRUE(job.wait_for("step 5/")) << job.output();
  hosts->cut_cable();
  const Outcome outcome = job.wait();
  expect_error(outcome, 6, {"after step ", "rank 3@hostb for 3 s", "`drover resume run`"});
  EXPECT_EQ(testing::last_line(outcome.output).rfind("drover: error: after step ", 0), 0u) << outcome.output;
  EXPECT_TRUE(nothing_runs_on(0)) << "ranks 0 and 1 are still there";
  EXPECT_TRUE(nothing_runs_on(1)) << "ranks 2 and 3 are still there";
  std::ifstream history(sandbox.path() / "run" / "history.jsonl");
  std::string row, last_row;
  while (std::getline(history, row)) last_row = row;
  EXPECT_EQ(nlohmann::json::parse(last_row).value("exit_code", 0), 6) << last_row;
  EXPECT_NE(last_row.find("rank 3@hostb"), std::string::npos) << last_row;
  hosts->rejoin_cable();
  EXPECT_EQ(testing::run_command(hosts->on_ranks(4, {"resume", "run", "--set", "train.steps=12"}), sandbox.path()).code, 0);
}

TEST_F(Hosts, AStoppedProcessEndsTheRunWithOneMessage) {
  Process job(command("run", {"train.steps=100000", "run.heartbeat_seconds=3"}), sandbox.path());
  ASSERT_TRUE(job.wait_for("step 5/")) << job.output();
  const std::vector<pid_t> ranks = hosts->processes(0, "drover");
  ASSERT_EQ(ranks.size(), 2u);
  ASSERT_EQ(kill(ranks[1], SIGSTOP), 0);
  expect_error(job.wait(), 6, {"after step ", "@hosta for 3 s", "stopped"});
  EXPECT_TRUE(nothing_runs_on(0) && nothing_runs_on(1));
}

// As a scheduler or a container suspends a job.
TEST_F(Hosts, AJobThatWasSuspendedAsAWholeGoesOn) {
  Process job(command("run", {"run.heartbeat_seconds=2", "train.steps=40"}), sandbox.path());
  ASSERT_TRUE(job.wait_for("step 3/")) << job.output();
  const std::vector<pid_t> ranks = testing::descendants(job.pid(), "drover");
  ASSERT_EQ(ranks.size(), 4u);
  for (const pid_t rank : ranks) kill(rank, SIGSTOP);
  job.run_for(6);
  for (const pid_t rank : ranks) kill(rank, SIGCONT);
  const Outcome outcome = job.wait();
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

TEST_F(Hosts, WithoutTheProgram) {
  hosts->hide(1, DROVER_BUILD_DIR);
  const Outcome outcome = train("run");
  EXPECT_EQ(outcome.code, 6) << outcome.output;
  EXPECT_EQ(testing::last_line(outcome.output),
            "mpirun.sh: error: " + testing::drover_program() +
                " is missing on host hostb, or cannot be run there: every host needs the same program "
                "in the same place");
}

TEST_F(Hosts, ThatCannotBeReached) {
  std::ofstream(sandbox.path() / "hostfile", std::ios::app) << "hostc slots=1\n";
  const Outcome outcome =
      testing::run_command(hosts->on_ranks(5, sandbox.train_arguments({5, 1, 1}, "run", {"train.global_batch=5"})), sandbox.path());
  EXPECT_EQ(outcome.code, 6) << outcome.output;
  const std::string last = testing::last_line(outcome.output);
  for (const char* word : {"mpirun.sh: error: a host of hostfile cannot be reached", "no route to host hostc", "ssh HOST"})
    EXPECT_NE(last.find(word), std::string::npos) << outcome.output;
}

TEST_F(Hosts, WithAnotherBuild) {
  const fs::path other = sandbox.path() / "other";
  fs::copy_file(testing::drover_program(), other);
  std::ofstream(other, std::ios::app) << "another";
  hosts->mount_over(1, other, testing::drover_program());
  expect_error(train("run"), 2, {"ranks 2, 3 on hostb: another program: drover ", ", not drover ", "rank 0 on hosta"});
}

TEST_F(Hosts, WithAnotherConfiguration) {
  const fs::path config = sandbox.path() / "config.yaml", other = sandbox.path() / "other.yaml",
                 kept = sandbox.path() / "kept.yaml";
  fs::copy_file(config, kept);
  sandbox.configure({{"optimizer.lr", "0.004"}});
  fs::rename(config, other);
  fs::rename(kept, config);
  hosts->mount_over(1, other, config);
  expect_error(train("run"), 2, {"ranks 2, 3 on hostb: another configuration: optimizer.lr 0.003 -> 0.004", "rank 0 on hosta"});
  EXPECT_TRUE(sandbox.drover({"train", "config.yaml", "--set", "run.dir=run"}).code == 0) << "the run directory was touched";
}

TEST_F(Hosts, WithOtherData) {
  ASSERT_EQ(sandbox.drover({"prepare", "--out", "other", "--shard-tokens", "5000", "corpus.jsonl"}).code, 0);
  hosts->mount_over(1, sandbox.path() / "other", sandbox.path() / "data");
  expect_error(train("run"), 2, {"ranks 2, 3 on hostb: other data: ", "tokens, hash ", "rank 0 on hosta"});
}

// What one host alone gets wrong before MPI, it must say itself: rank 0 does not know.
TEST_F(Hosts, WithoutTheData) {
  hosts->hide(1, sandbox.path() / "data");
  const Outcome outcome = train("run");
  EXPECT_EQ(outcome.code, 4) << outcome.output;
  EXPECT_NE(testing::last_line(outcome.output).find("data"), std::string::npos) << outcome.output;
  EXPECT_EQ(testing::last_line(outcome.output).rfind("drover: error: rank ", 0), 0u) << outcome.output;
}

}  // namespace
}  // namespace drover
