// Ranks killed at random instants, and runs stopped by signals: what is resumed ends as the run that nobody disturbed, bit for bit.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Process;
using testing::Sandbox;
using Keys = std::map<std::string, std::string>;

constexpr Layout kAll{2, 2, 2};
constexpr int kSteps = 60;

// What TensorBoard's event files must hold: the same rows, in f32, but the count of tokens.
std::vector<nlohmann::json> as_events(std::vector<nlohmann::json> rows) {
  for (nlohmann::json& row : rows) {
    row.erase("tokens");
    for (auto& [key, value] : row.items())
      if (key != "step") value = value.get<float>();
  }
  return rows;
}

void expect_same_run(const Sandbox& sandbox, const std::string& whole, const std::string& other, int steps) {
  testing::expect_equal_tensors(sandbox.checkpoint(whole, steps), sandbox.checkpoint(other, steps));
  EXPECT_EQ(testing::without_timings(sandbox.metrics(whole)), testing::without_timings(sandbox.metrics(other)));
  EXPECT_EQ(sandbox.events(other), as_events(sandbox.metrics(other)));
}

// Or was when the run ended: it leaves its temporary directory. (What a save removes at its end is called .tmp_removed_.)
bool save_under_way(const Sandbox& sandbox, const std::string& run) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(sandbox.path() / run / "checkpoints", none))
    if (entry.path().filename().string().starts_with(".tmp_step_")) return true;
  return false;
}

// False when the run ended before one began.
bool wait_for_a_save(Process& launcher, const Sandbox& sandbox, const std::string& run) {
  while (!save_under_way(sandbox, run))
    if (!launcher.run_for(0.001)) return false;
  return true;
}

struct Kills {
  int all = 0, in_saves = 0;
};

// Starts the run again and again, each time killing one rank: at a random time after the first moment, after training began, however long
// this machine takes to get there, or after a save began. Gives up killing after `most` and lets it end.
Kills run_with_kills(const Sandbox& sandbox, const std::string& run, int most, std::mt19937& random) {
  Kills kills;
  while (true) {
    Process launcher(sandbox.on_ranks(kAll.ranks(), sandbox.train_arguments(kAll, run, {"checkpoint.resume=auto"})),
                     sandbox.path());
    bool killed = false;
    const int when = kills.all % 3;
    if (kills.all < most && (when == 0 || launcher.wait_for("memory of the worst rank")) &&
        (when == 2 || launcher.run_for(std::uniform_real_distribution<>(0.1, 2.5)(random)))) {
      const std::vector<pid_t> ranks = testing::descendants(launcher.pid(), "drover");
      const bool alive = when < 2 || (wait_for_a_save(launcher, sandbox, run) && launcher.run_for(0.001 * (random() % 4)));
      killed = alive && !ranks.empty() && kill(ranks[random() % ranks.size()], SIGKILL) == 0;
    }
    const testing::Outcome outcome = launcher.wait();
    if (outcome.code == 0) return kills;
    kills.all += killed;
    kills.in_saves += killed && save_under_way(sandbox, run);
    if (!killed || outcome.code != 128 + SIGKILL) {
      ADD_FAILURE() << "ended with " << outcome.code << " after " << kills.all << " kills\n" << outcome.output;
      return kills;
    }
  }
}

class Kill : public ::testing::TestWithParam<std::string> {};

// Ten kills for each precision, a hundred with DROVER_SOAK, and more until one fell into a save; a checkpoint every second step.
TEST_P(Kill, ResumesToTheBit) {
  Sandbox sandbox;
  sandbox.configure({{"precision.compute", GetParam()},
                     {"train.steps", std::to_string(kSteps)},
                     {"checkpoint.every", "2"},
                     {"data.validation", "data"},
                     {"train.validate_every", "15"},
                     {"train.validation_batches", "2"},
                     {"model.tied_embeddings", "true"}});
  const auto whole = sandbox.train(kAll, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  const char* given = std::getenv("DROVER_KILL_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(std::stoul(given)) : std::random_device{}();
  std::printf("seed %u (again with DROVER_KILL_SEED=%u)\n", seed, seed);
  std::mt19937 random(seed);
  const int wanted = std::getenv("DROVER_SOAK") != nullptr ? 100 : 10;
  Kills kills;
  for (int round = 0; (kills.all < wanted || (kills.in_saves == 0 && kills.all < 5 * wanted)) && !HasFailure(); ++round) {
    const std::string run = "killed_" + std::to_string(round);
    const Kills made = run_with_kills(sandbox, run, std::max(wanted - kills.all, 3), random);
    kills.all += made.all;
    kills.in_saves += made.in_saves;
    std::printf("run %d: %d kills, %d of them in a save\n", round, made.all, made.in_saves);
    expect_same_run(sandbox, "whole", run, kSteps);
  }
  EXPECT_GT(kills.in_saves, 0);
}
INSTANTIATE_TEST_SUITE_P(Precision, Kill, ::testing::Values("f32", "bf16"), [](const auto& test) { return test.param; });

class Stop : public ::testing::Test {
 protected:
  Stop() { configure({}); }
  void configure(Keys keys) {
    keys.insert(
        {{"train.steps", "1000000"}, {"optimizer.schedule", "constant"}});  // it ends by the signal, however late that comes
    sandbox_.configure(keys);
  }
  std::vector<std::string> command(const std::string& run) const {
    return sandbox_.on_ranks(layout_.ranks(), sandbox_.train_arguments(layout_, run, {}));
  }

  // Runs until step 5 was printed, and a moment more, so that the signal falls anywhere in a step.
  static void let_it_train(Process& launcher) {
    ASSERT_TRUE(launcher.wait_for("step 5/")) << launcher.output();
    std::random_device random;
    ASSERT_TRUE(launcher.run_for(0.02 * (random() % 10)));
  }

  // The run stopped with 75 and, resumed for some steps more, ends as the one that was left alone.
  void expect_resumes(const testing::Outcome& stopped, const std::string& run) {
    ASSERT_EQ(stopped.code, 75) << stopped.output;
    const auto rows = sandbox_.metrics(run);
    ASSERT_FALSE(rows.empty());
    const int last = rows.back()["step"].get<int>(), end = last + 10;
    EXPECT_TRUE(std::filesystem::exists(sandbox_.checkpoint(run, last)));
    const std::vector<std::string> until{"train.steps=" + std::to_string(end)};
    const auto resumed = sandbox_.resume(layout_, run, until);
    ASSERT_EQ(resumed.code, 0) << resumed.output;
    const auto whole = sandbox_.train(layout_, "whole", until);
    ASSERT_EQ(whole.code, 0) << whole.output;
    expect_same_run(sandbox_, "whole", run, end);
  }

  Sandbox sandbox_;
  Layout layout_ = kAll;
};

TEST_F(Stop, ControlCOnATerminal) {
  Process launcher(command("run"), sandbox_.path(), Process::Output::terminal);
  let_it_train(launcher);
  launcher.type("\x03");
  expect_resumes(launcher.wait(), "run");
}

TEST_F(Stop, User1ToTheLauncher) {
  Process launcher(command("run"), sandbox_.path());
  let_it_train(launcher);
  kill(launcher.pid(), SIGUSR1);
  expect_resumes(launcher.wait(), "run");
}

TEST_F(Stop, TermToTheLauncher) {
  Process launcher(command("run"), sandbox_.path());
  let_it_train(launcher);
  kill(launcher.pid(), SIGTERM);
  expect_resumes(launcher.wait(), "run");
}

TEST_F(Stop, TermToOneRank) {
  Process launcher(command("run"), sandbox_.path());
  let_it_train(launcher);
  const auto ranks = testing::descendants(launcher.pid(), "drover");
  ASSERT_EQ(ranks.size(), 8u);
  kill(ranks[5], SIGTERM);
  expect_resumes(launcher.wait(), "run");
}

// Steps of seconds: the one in work is the last.
TEST_F(Stop, EndsWithTheStepOfTheSignal) {
  layout_ = {2, 1, 1};
  configure({{"train.global_batch", "4800"}});
  Process launcher(command("run"), sandbox_.path());
  ASSERT_TRUE(launcher.wait_for("step 1/")) << launcher.output();
  ASSERT_TRUE(launcher.run_for(0.3));
  const auto ranks = testing::descendants(launcher.pid(), "drover");
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGTERM);
  const auto stopped = launcher.wait();
  EXPECT_EQ(stopped.code, 75);
  EXPECT_NE(stopped.output.find("stopped by a signal after step 2; saved"), std::string::npos) << stopped.output;
}

// A closing terminal.
TEST_F(Stop, HangUpOfTheLauncher) {
  layout_ = {2, 1, 1};
  Process launcher(command("run"), sandbox_.path());
  let_it_train(launcher);
  kill(launcher.pid(), SIGHUP);
  launcher.run_for(0.05);
  kill(launcher.pid(), SIGHUP);
  expect_resumes(launcher.wait(), "run");
}

// The same Ctrl-C ends the `tee`, before the run has said its last.
TEST_F(Stop, ControlCThatEndsTheReaderToo) {
  layout_ = {1, 2, 1};
  std::string line = "trap : INT; ";
  for (const std::string& word : command("run")) line += word + " ";
  Process launcher({"bash", "-c", line + "2>&1 | tee log; exit ${PIPESTATUS[0]}"}, sandbox_.path(), Process::Output::terminal);
  let_it_train(launcher);
  launcher.type("\x03");
  expect_resumes(launcher.wait(), "run");
}

// Before the ranks can take a signal there is nothing to save, but the request is not lost either, nor a rank left behind.
TEST_F(Stop, AtTheStart) {
  layout_ = {2, 1, 1};
  for (const double seconds : {0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0}) {
    Process launcher(command("run"), sandbox_.path());
    ASSERT_TRUE(launcher.wait_for("mpirun.sh: 2 ranks"));
    launcher.run_for(seconds);
    kill(launcher.pid(), SIGTERM);
    const auto stopped = launcher.wait();
    EXPECT_EQ(stopped.code, 75) << "after " << seconds << " s\n" << stopped.output;
    std::filesystem::remove_all(sandbox_.path() / "run");
  }
}

// Plain mpirun forwards USR1.
TEST_F(Stop, User1ToPlainMpirun) {
  std::vector<std::string> plain{"mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "8", testing::drover_program()};
  for (const std::string& argument : sandbox_.train_arguments(kAll, "run", {})) plain.push_back(argument);
  Process launcher(plain, sandbox_.path(), Process::Output::pipe, {"OMPI_MCA_mpi_yield_when_idle=1", "OMP_NUM_THREADS=1"});
  let_it_train(launcher);
  kill(launcher.pid(), SIGUSR1);
  expect_resumes(launcher.wait(), "run");
}

// The loss of the interrupted validation is made again, so that the metrics are those of the run left alone.
TEST_F(Stop, DuringValidation) {
  configure({{"data.validation", "[data, data, data]"}, {"train.validate_every", "50"}});
  Process launcher(command("run"), sandbox_.path());
  ASSERT_TRUE(launcher.wait_for("step 50/"));
  kill(launcher.pid(), SIGUSR1);
  const auto stopped = launcher.wait();
  EXPECT_EQ(sandbox_.metrics("run").size(), 50u) << "the validation went on, or was over before it was stopped";
  expect_resumes(stopped, "run");
}

// A slow disk: nearly all of a step is waiting for its batch.
TEST_F(Stop, WhileWaitingForData) {
  if (!std::filesystem::exists(DROVER_BUILD_DIR "/libslow_pages.so"))
    GTEST_SKIP() << "the sanitizers bring fault handlers of their own";
  std::vector<std::string> slow = command("run");
  slow.insert(std::find(slow.begin(), slow.end(), testing::drover_program()),
              {"env", "LD_PRELOAD=" DROVER_BUILD_DIR "/libslow_pages.so", "DROVER_PAGE_MILLISECONDS=30", "OMPI_MCA_opal_signal="});
  Process launcher(slow, sandbox_.path());
  ASSERT_TRUE(launcher.wait_for("samples (")) << launcher.output();
  ASSERT_TRUE(launcher.run_for(1.5)) << launcher.output();
  const auto ranks = testing::descendants(launcher.pid(), "drover");
  ASSERT_EQ(ranks.size(), 8u);
  kill(ranks[3], SIGUSR1);
  const auto stopped = launcher.wait();
  EXPECT_LE(sandbox_.metrics("run").size(), 5u) << "nobody waited for data";
  ASSERT_FALSE(sandbox_.metrics("run").empty());
  EXPECT_GT(sandbox_.metrics("run").back()["seconds"].get<double>(), 0.2) << "nobody waited for data";
  expect_resumes(stopped, "run");
}

// A disk that is gone: one rank's data never comes. One signal to another rank suffices.
TEST_F(Stop, DataThatNeverComes) {
  if (!std::filesystem::exists(DROVER_BUILD_DIR "/libslow_pages.so"))
    GTEST_SKIP() << "the sanitizers bring fault handlers of their own";
  layout_ = {2, 1, 1};
  configure({{"train.steps", "20"}});
  std::vector<std::string> stuck = command("run");
  stuck.insert(std::find(stuck.begin(), stuck.end(), testing::drover_program()),
               {"sh", "-c",
                "[ $OMPI_COMM_WORLD_RANK = 0 ] || export LD_PRELOAD=" DROVER_BUILD_DIR
                "/libslow_pages.so DROVER_PAGE_MILLISECONDS=3600000 OMPI_MCA_opal_signal=; exec \"$@\"",
                "sh"});
  Process launcher(stuck, sandbox_.path());
  ASSERT_TRUE(launcher.wait_for("after step 0: no data on 1 of 2 ranks")) << launcher.output();
  const auto ranks = testing::descendants(launcher.pid(), "drover");
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[0], SIGUSR1);
  const auto stopped = launcher.wait();
  ASSERT_EQ(stopped.code, 75) << stopped.output;
  EXPECT_NE(stopped.output.find("stopped by a signal after step 0; saved"), std::string::npos) << stopped.output;
  EXPECT_TRUE(sandbox_.metrics("run").empty());
  const auto resumed = sandbox_.resume(layout_, "run");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const auto whole = sandbox_.train(layout_, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  expect_same_run(sandbox_, "whole", "run", 20);
}

// The last step is done, its validation is not: it is made after the resume.
TEST_F(Stop, DuringTheLastValidation) {
  layout_ = {2, 1, 1};
  configure({{"train.steps", "10"}, {"data.validation", "[data, data, data, data, data, data]"}});
  std::vector<std::string> slow =
      command("run");  // a validation of seconds on the quickest machine, which leaves the cores to the signal
  if (std::filesystem::exists(DROVER_BUILD_DIR "/libslow_pages.so"))
    slow.insert(std::find(slow.begin(), slow.end(), testing::drover_program()),
                {"env", "LD_PRELOAD=" DROVER_BUILD_DIR "/libslow_pages.so", "DROVER_PAGE_MILLISECONDS=5", "OMPI_MCA_opal_signal="});
  Process launcher(slow, sandbox_.path());
  ASSERT_TRUE(launcher.wait_for("step 10/10"));
  kill(launcher.pid(), SIGUSR1);
  const auto stopped = launcher.wait();
  ASSERT_EQ(stopped.code, 75) << stopped.output;
  ASSERT_EQ(sandbox_.metrics("run").size(), 10u) << "the validation was over before it was stopped";
  const auto resumed = sandbox_.resume(layout_, "run");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const auto whole = sandbox_.train(layout_, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  EXPECT_EQ(sandbox_.metrics("run").size(), 11u);
  expect_same_run(sandbox_, "whole", "run", 10);
}

// Steps of many seconds: the first Ctrl-C waits for the step's end, the second does not.
TEST_F(Stop, SecondSignalEndsAtOnce) {
  configure({{"train.global_batch", "9600"}});
  Process launcher(command("run"), sandbox_.path(), Process::Output::terminal);
  ASSERT_TRUE(launcher.wait_for("samples (")) << launcher.output();
  ASSERT_TRUE(launcher.run_for(1.5));
  const auto ranks = testing::descendants(launcher.pid(), "drover");
  ASSERT_EQ(ranks.size(), 8u);
  launcher.type("\x03");
  ASSERT_TRUE(launcher.wait_for("a second signal ends it at once"));
  ASSERT_TRUE(launcher.run_for(0.3)) << "the step was over before the second signal";
  launcher.type("\x03");
  const auto outcome = launcher.wait();
  EXPECT_EQ(outcome.code, 130);
  EXPECT_NE(testing::last_line(outcome.output).find("ended at once by a second signal"), std::string::npos) << outcome.output;
  EXPECT_TRUE(sandbox_.metrics("run").empty()) << "the step was finished";
  for (int wait = 0; wait < 100; ++wait) {  // the ranks see within a moment that their launcher is gone
    if (std::all_of(ranks.begin(), ranks.end(), [](pid_t rank) { return kill(rank, 0) != 0; })) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ADD_FAILURE() << "ranks are still there";
}

// The same, sent to one rank itself. In a Slurm job TERM may come again.
TEST_F(Stop, SecondTermToARankEndsAtOnce) {
  layout_ = {2, 1, 1};
  configure({{"train.global_batch", "19200"}});
  std::vector<std::string> outside{"env", "-u", "SLURM_JOB_ID"};
  for (const std::string& word : command("run")) outside.push_back(word);
  Process launcher(outside, sandbox_.path());
  ASSERT_TRUE(launcher.wait_for("samples (")) << launcher.output();
  ASSERT_TRUE(launcher.run_for(1.0));
  const auto ranks = testing::descendants(launcher.pid(), "drover");
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGTERM);
  ASSERT_TRUE(launcher.run_for(0.3)) << "the step was over before the second signal";
  kill(ranks[1], SIGTERM);
  const auto outcome = launcher.wait();
  EXPECT_EQ(outcome.code, 128 + SIGTERM) << outcome.output;
  EXPECT_TRUE(sandbox_.metrics("run").empty()) << "the step was finished";
}

}  // namespace
}  // namespace drover
