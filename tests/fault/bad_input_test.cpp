// What a person can get wrong: one clear message with the remedy, a code of its own, and nothing lost.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;
using testing::Sandbox;

void expect(const Outcome& outcome, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.code, code) << outcome.output;
  // One message. The launcher may have to say it again when OpenMPI spoke after it.
  EXPECT_EQ(testing::distinct_lines(outcome.output, "drover: error:"), 1u) << outcome.output;
  for (const std::string& word : words)
    EXPECT_NE(outcome.output.find(word), std::string::npos) << "no \"" << word << "\" in: " << outcome.output;
}

void overwrite(const fs::path& file, std::streamoff at, const std::string& bytes) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(at);
  stream << bytes;
}

struct Config : ::testing::Test {
  Config() { sandbox.configure({}); }
  Sandbox sandbox;
};

TEST_F(Config, ImpossibleLayoutNamesTheOnesThatWork) {
  expect(sandbox.train({1, 3, 1}, "run"), 2, {"parallel.tp 3", "model.heads 8", "1, 2, 4, 8"});
}

TEST_F(Config, EveryViolationAtOnceBeforeAnythingStarts) {
  sandbox.configure({{"train.stepz", "3"}, {"optimizer.clip", "-1"}, {"model.layers", "many"}});
  const Outcome outcome = sandbox.train({2, 1, 1}, "run");
  expect(outcome, 2, {"train.stepz", "the nearest is train.steps", "optimizer.clip", "model.layers", "config.yaml:"});
  EXPECT_FALSE(fs::exists(sandbox.path() / "run"));
}

TEST_F(Config, MissingFile) { expect(sandbox.drover({"train", "nothing.yaml"}), 2, {"nothing.yaml", "No such file"}); }

struct Data : Config {
  fs::path shard() const { return sandbox.path() / "data" / "shard_00000.tokens"; }
};

TEST_F(Data, VocabularySmallerThanTheShards) {
  sandbox.configure({{"model.vocab", "200"}});
  expect(sandbox.train({}, "run"), 4, {"258", "model.vocab is 200"});
}

TEST_F(Data, TruncatedShard) {
  fs::resize_file(shard(), fs::file_size(shard()) - 100);
  expect(sandbox.train({}, "run"), 4, {"shard_00000.tokens", "truncated"});
}

TEST_F(Data, WrongVersion) {
  overwrite(shard(), 8, std::string("\x63\0\0\0", 4));
  expect(sandbox.train({}, "run"), 4, {"shard_00000.tokens", "version 99"});
}

TEST_F(Data, NotAShard) {
  overwrite(shard(), 0, "GARBAGE!");
  expect(sandbox.train({}, "run"), 4, {"shard_00000.tokens", "magic"});
}

TEST_F(Data, TokenOutOfRange) {
  for (std::streamoff at = 256; at < 256 + 14000; at += 2) overwrite(shard(), at, "\xff\x7f");
  expect(sandbox.train({}, "run"), 4,
         {"shard_00000.tokens", "token 32767", "index", "model.vocab 258", "`drover data verify data`"});
}

TEST_F(Data, MissingDirectory) {
  sandbox.configure({{"data.train", "elsewhere"}});
  expect(sandbox.train({2, 1, 1}, "run"), 4, {"data.train: ", "elsewhere", "does not exist", "drover prepare"});
  sandbox.configure({{"data.train", "elsewhere"}, {"data.validation", "nowhere"}});
  expect(sandbox.train({}, "run"), 4, {"data.train: ", "elsewhere", "data.validation: ", "nowhere"});
}

TEST_F(Data, AFileForADirectory) {
  sandbox.configure({{"data.train", "config.yaml"}});
  expect(sandbox.train({}, "run"), 4, {"config.yaml is a file", "drover prepare"});
}

// What `prepare --validation-tail` makes is two data directories.
TEST_F(Data, DirectoryOfDataDirectories) {
  ASSERT_EQ(sandbox.drover({"prepare", "--out", "both", "--validation-tail", "0.1", "corpus.jsonl"}).code, 0);
  sandbox.configure({{"data.train", "both"}});
  expect(sandbox.train({}, "run"), 4, {"both is cut in two: name both/train or both/validation"});
}

struct RunDirectories : Config {};

TEST_F(RunDirectories, ARunIsNotOverwritten) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=2", "optimizer.warmup_steps=1"}).code, 0);
  const auto before = sandbox.metrics("run");
  expect(sandbox.train({}, "run"), 3, {"already holds a run", "drover resume run"});
  EXPECT_EQ(sandbox.metrics("run"), before);
}

TEST_F(RunDirectories, TheSecondOfTwoRunsIsRefused) {
  sandbox.configure({{"train.steps", "100000"}});
  testing::Process first(sandbox.on_ranks(1, sandbox.train_arguments({}, "run", {})), sandbox.path());
  ASSERT_TRUE(first.wait_for("step 3/"));
  expect(sandbox.train({}, "run", {"checkpoint.resume=auto"}), 3, {"in use by another run", "process"});
}

TEST_F(RunDirectories, CannotBeWritten) {
  std::ofstream(sandbox.path() / "file") << "not a directory";
  expect(sandbox.train({}, "file/run"), 7, {"file/run", "run.dir"});
}

// What an earlier run left and this one may not write is found before it trains, not when it saves.
TEST_F(RunDirectories, PartsThatCannotBeWritten) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  const fs::path checkpoints = sandbox.path() / "run/checkpoints";
  if (mount(checkpoints.c_str(), checkpoints.c_str(), "", MS_BIND, "") != 0) GTEST_SKIP() << "needs root to make a part read-only";
  EXPECT_EQ(mount("", checkpoints.c_str(), "", MS_BIND | MS_REMOUNT | MS_RDONLY, ""), 0);
  const Outcome outcome = sandbox.drover({"resume", "run", "--set", "train.steps=3"});
  expect(outcome, 7, {"run/checkpoints cannot be written: Read-only", "set run.dir"});
  EXPECT_EQ(outcome.output.find("memory of"), std::string::npos) << outcome.output;
  umount(checkpoints.c_str());
}

TEST_F(RunDirectories, TwoRunsAreNotMadeOne) {
  for (const char* run : {"a", "b"}) ASSERT_EQ(sandbox.train({}, run, {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  const auto before = sandbox.metrics("b");
  expect(sandbox.train({}, "b", {"checkpoint.resume=a/checkpoints/step_00000001"}), 3,
         {"a/checkpoints/step_00000001 is of another run than the one in run.dir b", "drover resume b"});
  EXPECT_EQ(sandbox.metrics("b"), before);
}

TEST_F(RunDirectories, ADamagedConfigurationIsAnErrorOfTheRun) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  std::ofstream(sandbox.path() / "run/config.yaml") << "model: [";
  expect(sandbox.drover({"resume", "run"}), 3, {"the configuration of run run is damaged", "config.yaml:"});
}

TEST_F(RunDirectories, ResumeWithoutACheckpoint) {
  expect(sandbox.train({2, 1, 1}, "run", {"checkpoint.resume=must"}), 3, {"no valid checkpoint in run", "checkpoint.resume=auto"});
  expect(sandbox.train({}, "run", {"checkpoint.resume=./elsewhere"}), 3, {"checkpoint.resume ./elsewhere", "no checkpoint"});
  EXPECT_FALSE(fs::exists(sandbox.path() / "run"));
  const Outcome outcome = sandbox.train({}, "fresh", {"checkpoint.resume=auto", "train.steps=1", "optimizer.warmup_steps=1"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("a fresh start"), std::string::npos);
}

TEST_F(RunDirectories, ARunIsNoCheckpointAndHasOneDirectory) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  expect(sandbox.train({}, "other", {"checkpoint.resume=./run"}), 3, {"is a run directory", "./run/checkpoints/step_00000001"});
  expect(sandbox.drover({"resume", "run", "--set", "run.dir=other"}), 2, {"--set run.dir", "drover resume run"});
  EXPECT_FALSE(fs::exists(sandbox.path() / "other"));
}

TEST_F(RunDirectories, AFinishedRunSaysHowToGoOn) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  const Outcome outcome = sandbox.resume({}, "run");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("nothing to train: the checkpoint is of step 1, train.steps is 1; --set train.steps=N goes on"),
            std::string::npos)
      << outcome.output;
}

TEST_F(RunDirectories, CheckpointOfAnotherModel) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  expect(sandbox.drover({"resume", "run", "--set", "model.ffn=128", "--set", "train.steps=3"}), 3,
         {"cannot change", "model.ffn: 64 -> 128"});
  expect(sandbox.drover({"resume", "run", "--set", "train.seed=9", "--set", "train.steps=3"}), 3, {"train.seed"});
  expect(sandbox.drover({"resume", "run", "--set", "train.sequence=16", "--set", "train.steps=3"}), 3,
         {"train.sequence: 32 -> 16"});
}

TEST_F(RunDirectories, AllCheckpointsDamagedIsNeverAFreshStart) {
  ASSERT_EQ(sandbox.train({}, "run", {"train.steps=1", "optimizer.warmup_steps=1"}).code, 0);
  overwrite(sandbox.checkpoint("run", 1) / "rank_00000.h5", 5000, "X");
  expect(sandbox.train({}, "run", {"checkpoint.resume=auto"}), 3, {"checksum"});
  EXPECT_TRUE(fs::exists(sandbox.checkpoint("run", 1)));
}

TEST_F(RunDirectories, DamagedCheckpointIsSkippedAndPutAside) {
  sandbox.configure({{"train.steps", "4"}, {"checkpoint.every", "2"}, {"checkpoint.keep", "0"}, {"optimizer.warmup_steps", "1"}});
  ASSERT_EQ(sandbox.train({2, 1, 1}, "whole").code, 0);
  ASSERT_EQ(sandbox.train({2, 1, 1}, "run").code, 0);
  overwrite(sandbox.checkpoint("run", 4) / "rank_00001.h5", 6000, "XY");
  const Outcome outcome = sandbox.resume({2, 1, 1}, "run");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("rank_00001.h5"), std::string::npos);
  EXPECT_NE(outcome.output.find("step 2"), std::string::npos);
  EXPECT_TRUE(fs::exists(sandbox.path() / "run" / "checkpoints" / "damaged_step_00000004"));
  testing::expect_equal_tensors(sandbox.checkpoint("whole", 4), sandbox.checkpoint("run", 4));
  EXPECT_EQ(testing::without_timings(sandbox.metrics("run")), testing::without_timings(sandbox.metrics("whole")));
}

TEST_F(RunDirectories, ResumeFromAnOlderStepLosesNothing) {
  sandbox.configure({{"train.steps", "4"}, {"checkpoint.every", "2"}, {"checkpoint.keep", "0"}, {"optimizer.warmup_steps", "1"}});
  ASSERT_EQ(sandbox.train({}, "run").code, 0);
  const Outcome outcome = sandbox.train({}, "run", {"checkpoint.resume=run/checkpoints/step_00000002", "train.steps=3"});
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(fs::exists(sandbox.path() / "run" / "checkpoints" / "abandoned_step_00000004"));
  EXPECT_TRUE(fs::exists(sandbox.checkpoint("run", 3)));
  EXPECT_EQ(sandbox.metrics("run").back()["step"], 3);
}

// A small file system of its own, as root; the save that does not fit fails, what was there stays.
TEST_F(RunDirectories, FullDisk) {
  const fs::path disk = sandbox.path() / "disk";
  fs::create_directory(disk);
  if (mount("none", disk.c_str(), "tmpfs", 0, "size=5m") != 0) GTEST_SKIP() << "needs root to mount a small file system";
  const Outcome outcome = sandbox.train({2, 1, 1}, "disk/run", {"checkpoint.every=1", "checkpoint.keep=0"});
  EXPECT_EQ(outcome.code, 7) << outcome.output;
  EXPECT_NE(outcome.output.find("No space left on device"), std::string::npos) << outcome.output;
  EXPECT_EQ(sandbox.drover({"checkpoint", "verify", "disk/run"}).code, 0);
  expect(sandbox.train({}, "disk/second", {"model.ffn=4096"}), 7, {"one checkpoint needs about", "free"});
  umount(disk.c_str());
}

struct Launch : Config {};

// N processes that each believe to be alone, as srun without PMIx starts them. With all of Slurm's variables OpenMPI would abort in
// MPI_Init with twenty lines of its own.
TEST_F(Launch, SeparateProcessesAreRefusedOnceBeforeAnythingIsMade) {
  const auto task = [&](const std::string& number) {
    return testing::run_command(
        {"env", "SLURM_PROCID=" + number, "SLURM_LOCALID=" + number, "SLURM_STEP_ID=0", "SLURM_STEPID=0", "SLURM_JOB_ID=7",
         "SLURM_JOBID=7", "SLURM_NTASKS=4", "SLURM_STEP_NUM_TASKS=4", "SLURM_STEP_TASKS_PER_NODE=4", "SLURM_NODELIST=here",
         "SLURM_JOB_NODELIST=here", testing::drover_program(), "train", "config.yaml", "--set", "run.dir=run"},
        sandbox.path());
  };
  expect(task("0"), 6, {"srun started 4 processes without PMIx", "srun --mpi=pmix", "launch/mpirun.sh -np 4"});
  const Outcome other = task("1");
  EXPECT_EQ(other.code, 6);
  EXPECT_EQ(other.output, "") << "rank 0 says it for all";
  EXPECT_FALSE(fs::exists(sandbox.path() / "run"));
}

// As another MPI's mpirun starts them.
TEST_F(Launch, ProcessesThatMpiCannotConnectAreRefused) {
  const Outcome outcome =
      testing::run_command({"env", "PMI_RANK=0", "PMI_SIZE=4", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                            testing::drover_program(), "train", "config.yaml", "--set", "run.dir=run"},
                           sandbox.path());
  expect(outcome, 6, {"4 processes", "MPI sees 1", "launch/mpirun.sh -np 4"});
  // And as srun does with a PMI that our MPI was not built for.
  const Outcome tasks =
      testing::run_command({"env", "PMI_RANK=0", "SLURM_PROCID=0", "SLURM_STEP_ID=0", "SLURM_NTASKS=4", "SLURM_STEP_NUM_TASKS=4",
                            "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", testing::drover_program(), "train",
                            "config.yaml", "--set", "run.dir=run"},
                           sandbox.path());
  expect(tasks, 6, {"4 processes", "MPI sees 1", "srun --mpi=pmix"});
}

TEST_F(Launch, ADeadRankEndsTheJobAndIsNamedLast) {
  sandbox.configure({{"train.steps", "100000"}, {"run.log_every", "1"}});
  testing::Process job(sandbox.on_ranks(4, sandbox.train_arguments({1, 2, 2}, "run", {})), sandbox.path());
  ASSERT_TRUE(job.wait_for("step 3/"));
  const std::vector<pid_t> ranks = testing::descendants(job.pid(), "drover");
  ASSERT_EQ(ranks.size(), 4u);
  ASSERT_EQ(kill(ranks[2], SIGKILL), 0);
  const Outcome outcome = job.wait();
  EXPECT_EQ(outcome.code, 137);
  EXPECT_NE(testing::last_line(outcome.output).find("signal 9"), std::string::npos) << outcome.output;
}

struct NonFinite : Config {
  // One step makes the weights so large that no later loss is finite.
  NonFinite() {
    sandbox.configure({{"optimizer.lr", "1e38"},
                       {"optimizer.warmup_steps", "0"},
                       {"optimizer.schedule", "constant"},
                       {"optimizer.weight_decay", "0"},
                       {"train.steps", "6"}});
  }
};

TEST_F(NonFinite, IsSkippedOnAllRanksAndStopsAfterABound) {
  const Outcome outcome = sandbox.train({2, 2, 2}, "run", {"train.max_skipped=3"});
  expect(outcome, 93, {"4 steps in a row were not finite", "the first bad gradient is of lm_head.weight", "rank 0"});
  const auto rows = sandbox.metrics("run");
  ASSERT_EQ(rows.size(), 5u);  // one good step, then four that were skipped
  EXPECT_FALSE(rows[0].contains("skipped"));
  for (size_t i = 1; i < rows.size(); ++i) EXPECT_EQ(rows[i]["skipped"], true);
}

// Every second target is the begin of the next document: such steps have nothing to learn from. They are no sign of trouble.
TEST_F(Config, StepsWithoutATargetAreSkippedAndDoNotStopTheRun) {
  std::ofstream documents(sandbox.path() / "empty.jsonl");
  documents << "{\"text\": \"one letter is enough\"}\n";
  for (int i = 0; i < 40; ++i) documents << "{\"text\": \"\"}\n";
  documents.close();
  ASSERT_EQ(sandbox.drover({"prepare", "--out", "empty", "empty.jsonl"}).code, 0);
  const Outcome outcome = sandbox.train(
      {}, "run", {"data.train=empty", "train.sequence=1", "train.global_batch=1", "train.steps=40", "train.max_skipped=1"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("SKIPPED (no target counts)"), std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find("nan"), std::string::npos) << outcome.output;
}

TEST_F(NonFinite, NeverReachesTheWeightsOfAnyRank) {
  ASSERT_EQ(sandbox.train({2, 2, 2}, "run", {"checkpoint.every=1", "checkpoint.keep=0"}).code, 0);
  EXPECT_EQ(sandbox.metrics("run").back()["skipped"], true);
  testing::expect_equal_tensors(sandbox.checkpoint("run", 1), sandbox.checkpoint("run", 6));
  const Outcome inspected = sandbox.drover({"checkpoint", "inspect", sandbox.checkpoint("run", 6)});
  EXPECT_NE(inspected.output.find("(1 updates applied, 5 skipped)"), std::string::npos) << inspected.output;
  EXPECT_NE(inspected.output.find("samples     144 consumed"), std::string::npos) << "skipped steps consume their samples";
}

}  // namespace
}  // namespace drover
