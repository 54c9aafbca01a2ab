// launch/slurm.sbatch in a real Slurm of two nodes (tests/slurm/cluster.sh): how a job ends, what is saved, and whether it starts again.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <thread>

#include "kernels/base/files.h"
#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Outcome;
using testing::Process;

constexpr int kPorts = 3;
constexpr int kSteps = 60;

bool is_free(int port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool bound = bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(descriptor);
  return bound;
}

int free_ports() {
  int first = 20000 + getpid() % 10000;
  for (int port = first; port < first + kPorts; ++port)
    if (!is_free(port)) first = port + 1;
  return first;
}

class Slurm : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(DROVER_BUILD_DIR "/libslow_pages.so"))
      GTEST_SKIP() << "the sanitizers bring fault handlers of their own";
    sandbox_.configure({{"train.steps", std::to_string(kSteps)}, {"train.global_batch", "4"}, {"checkpoint.keep", "0"}});
    const std::filesystem::path home = sandbox_.path() / "slurm";
    daemons_ = std::make_unique<Process>(
        std::vector<std::string>{DROVER_SOURCE_DIR "/tests/slurm/cluster.sh", home, std::to_string(free_ports())}, sandbox_.path());
    if (!daemons_->wait_for("ready")) {
      const Outcome outcome = daemons_->wait();
      if (outcome.code == 77) GTEST_SKIP() << outcome.output;
      FAIL() << outcome.output;
    }
    // Two hosts that are one: MPI goes over the loopback, and waiting ranks make room.
    environment_ = {"SLURM_CONF=" + (home / "slurm.conf").string(),
                    "DROVER=" + testing::drover_program(),
                    "OMPI_MCA_btl_tcp_if_include=lo",
                    "OMPI_MCA_oob_tcp_if_include=lo",
                    "OMPI_MCA_mpi_yield_when_idle=1",
                    "OMPI_ALLOW_RUN_AS_ROOT=1",
                    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
  }

  void TearDown() override {
    if (HasFailure()) std::printf("%s\n", log(job_).c_str());
  }

  Outcome command(const std::vector<std::string>& words) const {
    return testing::run_command(words, sandbox_.path(), environment_);
  }

  // sbatch OPTIONS launch/slurm.sbatch config.yaml --set run.dir=run; `set`: key=value, each as --set.
  void submit(std::vector<std::string> options, const std::vector<std::string>& set = {}) {
    std::vector<std::string> words{"sbatch", "--parsable", "--output=%j.log"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {DROVER_SOURCE_DIR "/launch/slurm.sbatch", "config.yaml", "--set", "run.dir=run"});
    for (const std::string& text : set) words.insert(words.end(), {"--set", text});
    const Outcome outcome = command(words);
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    job_ = outcome.output.substr(0, outcome.output.find('\n'));
  }

  std::string log(const std::string& job) const {
    const std::filesystem::path path = sandbox_.path() / (job + ".log");
    return std::filesystem::exists(path) ? read_text(path) : "";
  }
  std::string log() const { return log(job_); }

  // What `scontrol show job` says of this job.
  std::string field(const std::string& name) const {
    const std::string text = command({"scontrol", "show", "job", "-o", job_}).output;
    const size_t at = text.find(" " + name + "=");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 2;
    return text.substr(begin, text.find(' ', begin) - begin);
  }

  // False when that does not happen within some minutes.
  template <class Condition> static bool wait_until(Condition&& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(4);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return false;
  }
  bool has_ended() const {
    const std::string state = field("JobState");
    return state == "COMPLETED" || state == "FAILED" || state == "CANCELLED" || state == "TIMEOUT" || state == "NODE_FAIL";
  }
  // False when the job ends without it.
  bool wait_for(const std::string& text) const {
    const auto said = [&] { return log().find(text) != std::string::npos; };
    for (bool ended = false; !ended;) {
      for (int look = 0; look < 10; ++look) {
        if (said()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
      ended = has_ended();
    }
    return said();
  }
  bool wait_for_start(int start) const { return wait_for(", start " + std::to_string(start) + ","); }
  std::string end_state() const {
    wait_until([&] { return has_ended(); });
    return field("JobState");
  }

  // For the job, a drover program that does something else first when it is to train: `shell`.
  void disturb(const std::string& shell) {
    const std::filesystem::path path = sandbox_.path() / "disturbed";
    std::ofstream(path) << "#!/bin/sh\nif [ \"$1\" = train ]; then\n"
                        << shell << "\nfi\nexec " << testing::drover_program() << " \"$@\"\n";
    std::filesystem::permissions(path, std::filesystem::perms::all);
    environment_.push_back("DROVER=" + path.string());
  }
  // A slow disk for the first start of a job: a step takes some ten times `page_milliseconds`, mostly asleep.
  void slow_first_start(int page_milliseconds = 24) {
    disturb("[ \"${SLURM_RESTART_COUNT:-0}\" = 0 ] && export LD_PRELOAD=" DROVER_BUILD_DIR
            "/libslow_pages.so OMPI_MCA_opal_signal= DROVER_PAGE_MILLISECONDS=" +
            std::to_string(page_milliseconds));
  }

  int last_step() const {
    const auto rows = sandbox_.metrics("run");
    return rows.empty() ? 0 : rows.back()["step"].get<int>();
  }

  // The job's run ended as the same run does that nobody disturbed, to the bit.
  void expect_as_undisturbed(int ranks) const {
    const Outcome whole = sandbox_.train({ranks, 1, 1}, "whole");
    ASSERT_EQ(whole.code, 0) << whole.output;
    testing::expect_equal_tensors(sandbox_.checkpoint("whole", kSteps), sandbox_.checkpoint("run", kSteps));
    EXPECT_EQ(testing::without_timings(sandbox_.metrics("run")), testing::without_timings(sandbox_.metrics("whole")));
  }

  testing::Sandbox sandbox_;
  std::unique_ptr<Process> daemons_;
  std::vector<std::string> environment_;
  std::string job_;
};

TEST_F(Slurm, CompletesOnTwoNodes) {
  submit({"-N2", "--ntasks-per-node=1"});
  EXPECT_EQ(end_state(), "COMPLETED");
  EXPECT_NE(log().find("start 1, 2 ranks on n[1-2] by srun; run stands at step 0"), std::string::npos);
  EXPECT_EQ(testing::last_line(log()), "slurm.sbatch: done");
  expect_as_undisturbed(2);
}

// Slurm looks at the clock every half a minute.
TEST_F(Slurm, SavesBeforeTheTimeLimitAndGoesOn) {
  slow_first_start(800);
  submit({"-N2", "--ntasks-per-node=1", "--time=1", "--signal=B:USR1@45"});
  ASSERT_TRUE(wait_for("requeued"));
  const int stopped = last_step();
  EXPECT_LT(stopped, kSteps) << "the run was over before the time limit";
  EXPECT_TRUE(std::filesystem::exists(sandbox_.checkpoint("run", stopped)));
  EXPECT_EQ(end_state(), "COMPLETED");
  EXPECT_EQ(field("Restarts"), "1");
  EXPECT_NE(log().find("at step " + std::to_string(stopped)), std::string::npos);
  EXPECT_NE(log().find("resumed from run/checkpoints/"), std::string::npos);
  expect_as_undisturbed(2);
}

// Slurm says TERM twice within a millisecond, and starts the job again by itself.
TEST_F(Slurm, PreemptedSavesAndGoesOn) {
  slow_first_start();
  submit({"-N2", "--ntasks-per-node=1", "--partition=low", "--exclusive"});
  ASSERT_TRUE(wait_for("step 5/"));
  ASSERT_EQ(command({"sbatch", "--partition=high", "-N2", "--exclusive", "--output=/dev/null", "--wrap=true"}).code, 0);
  ASSERT_TRUE(wait_for_start(2));
  EXPECT_NE(log().find("DUE TO PREEMPTION"), std::string::npos);
  EXPECT_EQ(log().find("run stands at step 0", log().find(", start 2,")), std::string::npos) << "nothing was saved";
  EXPECT_EQ(end_state(), "COMPLETED");
  expect_as_undisturbed(2);
}

// TERM goes to the ranks alone, and Slurm would take the job's end for its own.
TEST_F(Slurm, PreemptedWithGraceTimeRequeuesItself) {
  slow_first_start();
  submit({"-N1", "-n2", "--partition=grace", "--exclusive"});
  ASSERT_TRUE(wait_for("step 5/"));
  ASSERT_EQ(command({"sbatch", "--partition=high", "-N2", "--exclusive", "--output=/dev/null", "--wrap=true"}).code, 0);
  ASSERT_TRUE(wait_for_start(2));
  EXPECT_NE(log().find(", requeued"), std::string::npos);
  EXPECT_EQ(end_state(), "COMPLETED");
  expect_as_undisturbed(2);
}

TEST_F(Slurm, CancelledSavesAndIsNotStartedAgain) {
  slow_first_start();
  submit({"-N2", "--ntasks-per-node=1"});
  ASSERT_TRUE(wait_for("step 5/"));
  ASSERT_EQ(command({"scancel", job_}).code, 0);
  EXPECT_EQ(end_state(), "CANCELLED");
  EXPECT_EQ(field("Restarts"), "0");
  const int stopped = last_step();
  EXPECT_LT(stopped, kSteps);
  EXPECT_TRUE(std::filesystem::exists(sandbox_.checkpoint("run", stopped)));

  // The same line again goes on; TERM to the script alone leaves it all the time it needs.
  submit({"-N2", "--ntasks-per-node=1"});
  ASSERT_TRUE(wait_for("resumed from run/checkpoints/"));
  ASSERT_EQ(command({"scancel", "--batch", "--signal=TERM", job_}).code, 0);
  EXPECT_EQ(end_state(), "FAILED");
  EXPECT_EQ(field("ExitCode"), "75:0");
  EXPECT_EQ(field("Restarts"), "0");
  EXPECT_NE(log().find("run stands at step " + std::to_string(stopped)), std::string::npos);
  EXPECT_NE(testing::last_line(log()).find("not requeued"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(sandbox_.checkpoint("run", last_step())));
}

// Steps of half a minute: the first signal waits for the step's end, the second does not.
TEST_F(Slurm, SecondSignalEndsAtOnce) {
  slow_first_start();
  submit({"-N1", "-n2"}, {"train.global_batch=400"});
  ASSERT_TRUE(wait_for("samples ("));
  ASSERT_EQ(command({"scancel", "--batch", "--signal=USR1", job_}).code, 0);
  ASSERT_TRUE(wait_for("a second USR1 ends it at once"));
  ASSERT_EQ(command({"scancel", "--batch", "--signal=USR1", job_}).code, 0);
  EXPECT_EQ(end_state(), "FAILED");
  EXPECT_EQ(field("Restarts"), "0");
  EXPECT_EQ(last_step(), 0);
}

TEST_F(Slurm, ADeadRankEndsTheJobAndIsNamedLast) {
  submit({"-N1", "-n2"}, {"train.steps=100000"});
  ASSERT_TRUE(wait_for("step 3/"));
  const std::vector<pid_t> ranks = testing::descendants(daemons_->pid(), "drover");
  ASSERT_EQ(ranks.size(), 2u);
  ASSERT_EQ(kill(ranks[1], SIGKILL), 0);
  EXPECT_EQ(end_state(), "FAILED");
  EXPECT_EQ(field("ExitCode"), "137:0");
  EXPECT_EQ(field("Restarts"), "0");
  EXPECT_NE(log().find("exit code 137 (signal KILL), not requeued"), std::string::npos);
  EXPECT_EQ(testing::last_line(log()).rfind("srun: error: n1: task ", 0), 0u);
}

TEST_F(Slurm, ANodeThatFailsIsLeftAndTheRunGoesOn) {
  slow_first_start();
  submit({"-N1", "-n2", "--nodelist=n1"}, {"checkpoint.every=2"});
  ASSERT_TRUE(wait_for("step 5/"));
  ASSERT_EQ(command({"scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=test"}).code, 0);
  ASSERT_TRUE(wait_until([&] { return field("Restarts") == "1"; }));
  command({"scontrol", "update", "NodeName=n1", "State=RESUME"});
  EXPECT_EQ(end_state(), "COMPLETED");
  EXPECT_NE(log().find("resumed from run/checkpoints/"), std::string::npos);
  EXPECT_EQ(sandbox_.metrics("run").back()["step"], kSteps);
}

// A job that takes its node down wherever it starts, before the first step: Slurm would start it again for ever.
TEST_F(Slurm, APoisonedJobIsNotStartedAFourthTime) {
  // By one rank: another's late word would take a node down that was made good meanwhile.
  disturb("[ $SLURM_PROCID != 0 ] || scontrol update NodeName=$SLURMD_NODENAME State=DOWN Reason=poison; sleep 60");
  submit({"-N1", "-n2"});
  for (int start = 2; start <= 4; ++start) {
    ASSERT_TRUE(wait_until([&] { return field("Restarts") == std::to_string(start - 1); }));
    for (const char* node : {"n1", "n2"}) command({"scontrol", "update", std::string("NodeName=") + node, "State=RESUME"});
  }
  EXPECT_EQ(end_state(), "FAILED");
  EXPECT_EQ(field("ExitCode"), "93:0");
  EXPECT_EQ(field("Restarts"), "3");
  EXPECT_NE(testing::last_line(log()).find("3 starts of this job without a new saved step"), std::string::npos);
}

TEST_F(Slurm, WithoutPmixSrunIsRefused) {
  const Outcome outcome = command({"srun", "--mpi=none", "-n2", testing::drover_program(), "train", "config.yaml"});
  EXPECT_EQ(outcome.code, 6) << outcome.output;
  EXPECT_EQ(testing::distinct_lines(outcome.output, "drover: error:"), 1u) << outcome.output;
  EXPECT_NE(outcome.output.find("srun --mpi=pmix"), std::string::npos) << outcome.output;
}

// As where Slurm has no PMIx.
TEST_F(Slurm, ByMpirunTheSame) {
  slow_first_start();
  environment_.push_back("DROVER_LAUNCHER=mpirun");
  submit({"-N2", "--ntasks-per-node=1"});
  ASSERT_TRUE(wait_for("step 5/"));
  ASSERT_EQ(command({"scancel", "--batch", "--signal=USR1", job_}).code, 0);
  ASSERT_TRUE(wait_for_start(2));
  EXPECT_EQ(end_state(), "COMPLETED");
  EXPECT_NE(log().find("2 ranks on n[1-2] by mpirun"), std::string::npos);
  expect_as_undisturbed(2);
}

}  // namespace
}  // namespace drover
