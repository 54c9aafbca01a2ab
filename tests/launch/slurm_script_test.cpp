// launch/slurm.sbatch with a Slurm that is played: what it starts, what it requeues, and how it counts. tests/slurm has the real one.
#include <gtest/gtest.h>

#include <fstream>

#include "kernels/base/files.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

class SlurmScript : public ::testing::Test {
 protected:
  SlurmScript() {
    sandbox_.configure({});
    // Ends with the exit code in file "code", after saving the step in file "save" if there is one.
    play("srun", R"sh(case "$*" in --mpi=list) cat plugins; exit ;; esac
echo "srun $*" >>calls
[ -f says ] && cat says >&2
[ -f save ] && mkdir -p "run/checkpoints/step_$(cat save)"
exit "$(cat code)")sh");
    play("mpirun", "echo \"mpirun $*\" >>calls; exit \"$(cat code)\"");
    play("squeue", "cat state");
    play("scontrol", "echo \"scontrol $*\" >>calls");
    play("scancel", "echo \"scancel $*\" >>calls");
    write("plugins", "MPI plugin types are...\n\tpmix\n\tnone\n");
    write("state", "RUNNING");
    write("code", "75");
  }

  void play(const std::string& program, const std::string& shell) {
    fs::create_directories(sandbox_.path() / "bin");
    std::ofstream(sandbox_.path() / "bin" / program) << "#!/bin/bash\n" << shell << "\n";
    fs::permissions(sandbox_.path() / "bin" / program, fs::perms::all);
  }
  void write(const std::string& file, const std::string& text) const { std::ofstream(sandbox_.path() / file) << text; }

  // The batch script of job 7 on two nodes of four cores for two ranks each, at its first start or a later one.
  Outcome start(int restarts = 0, const std::vector<std::string>& arguments = {},
                const std::vector<std::string>& environment = {}) const {
    fs::remove(sandbox_.path() / "calls");
    std::vector<std::string> words{DROVER_SOURCE_DIR "/launch/slurm.sbatch", "config.yaml", "--set", "run.dir=run"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<std::string> variables{"PATH=" + (sandbox_.path() / "bin").string() + ":/usr/bin:/bin",
                                       "DROVER=" + testing::drover_program(),
                                       "SLURM_JOB_ID=7",
                                       "SLURM_JOB_NUM_NODES=2",
                                       "SLURM_JOB_NODELIST=n[1-2]",
                                       "SLURM_NTASKS=4",
                                       "SLURM_CPUS_PER_TASK=2"};
    if (restarts > 0) variables.push_back("SLURM_RESTART_COUNT=" + std::to_string(restarts));
    variables.insert(variables.end(), environment.begin(), environment.end());
    return testing::run_command(words, sandbox_.path(), variables);
  }
  std::string calls() const {
    const fs::path path = sandbox_.path() / "calls";
    return fs::exists(path) ? read_text(path) : "";
  }
  bool called(const std::string& words) const { return calls().find(words) != std::string::npos; }

  testing::Sandbox sandbox_;
};

TEST_F(SlurmScript, StartsTheRanksWithTheirCores) {
  write("code", "0");
  const Outcome outcome = start(0, {"--set", "parallel.tp=2"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_TRUE(called("srun --mpi=pmix --ntasks=4 --distribution=block --kill-on-bad-exit=0 --wait=15 --cpus-per-task=2 " +
                     testing::drover_program() +
                     " train config.yaml --set run.dir=run --set parallel.tp=2 --set checkpoint.resume=auto\n"))
      << calls();
}

TEST_F(SlurmScript, WithoutPmixByMpirun) {
  write("plugins", "MPI plugin types are...\n\tnone\n\tpmi2\n");
  write("code", "0");
  EXPECT_EQ(start().code, 0);
  EXPECT_TRUE(called("mpirun -np 4 --bind-to none " + testing::drover_program() + " train config.yaml")) << calls();
}

TEST_F(SlurmScript, RequeuesOn75Only) {
  const Outcome stopped = start();
  EXPECT_EQ(stopped.code, 75);
  EXPECT_TRUE(called("scontrol requeue 7")) << stopped.output;
  for (const int code : {0, 1, 6, 93, 127, 137}) {
    write("code", std::to_string(code));
    EXPECT_EQ(start(0, {}, {"SLURM_JOB_ID=1" + std::to_string(code)}).code, code);
    EXPECT_FALSE(called("requeue")) << code;
  }
}

TEST_F(SlurmScript, SaysTheFirstErrorLast) {
  write("code", "4");
  write("says", "noise\ndrover: error: the cause\nsrun: error: n1: task 0: Exited with exit code 4\n");
  const Outcome outcome = start();
  EXPECT_EQ(testing::last_line(outcome.output), "drover: error: the cause") << outcome.output;
}

TEST_F(SlurmScript, TheProgramsErrorComesBeforeSruns) {
  write("code", "4");
  write("says", "srun: error: n1: task 0: Exited with exit code 4\ndrover: error: the cause\n  and its detail\nnoise\n");
  const Outcome outcome = start();
  EXPECT_TRUE(outcome.output.ends_with("drover: error: the cause\n  and its detail\n")) << outcome.output;
}

// srun answers 137 for the ranks that it killed while they waited for the one that refused.
TEST_F(SlurmScript, TheExitCodeIsThatOfTheRankThatRefused) {
  write("code", "137");
  write("says", "drover: error: the cause\nsrun: error: n1: task 0: Exited with exit code 3\nsrun: error: n2: task 1: Killed\n");
  EXPECT_EQ(start().code, 3);
  write("says", "srun: error: n2: task 1: Killed\nsrun: error: n1: task 0: Exited with exit code 3\n");
  EXPECT_EQ(start().code, 137);
}

TEST_F(SlurmScript, JobsInOneDirectoryCountForThemselves) {
  for (int restarts = 0; restarts < 2; ++restarts) EXPECT_EQ(start(restarts).code, 75);
  EXPECT_EQ(start(0, {}, {"SLURM_JOB_ID=8"}).code, 75);
  EXPECT_EQ(start(2).code, 93);
}

TEST_F(SlurmScript, SaysWhatIsWrongWithItsSettings) {
  const Outcome program = start(0, {}, {"DROVER=/nowhere/drover"});
  EXPECT_EQ(program.code, 2);
  EXPECT_NE(program.output.find("DROVER=/nowhere/drover is no program"), std::string::npos) << program.output;
  const Outcome launcher = start(0, {}, {"DROVER_LAUNCHER=hydra"});
  EXPECT_EQ(launcher.code, 2);
  EXPECT_NE(launcher.output.find("DROVER_LAUNCHER=hydra: srun or mpirun"), std::string::npos) << launcher.output;
  write("file", "");
  const Outcome directory = start(0, {"--set", "run.dir=file/run"});
  EXPECT_EQ(directory.code, 7);
  EXPECT_NE(testing::last_line(directory.output).find("run.dir must be a directory"), std::string::npos) << directory.output;
  EXPECT_FALSE(called("srun ") || called("mpirun ")) << calls();
}

TEST_F(SlurmScript, AJobThatSlurmEndsIsNotRequeuedByUs) {
  write("state", "COMPLETING");
  const Outcome outcome = start();
  EXPECT_EQ(outcome.code, 75);
  EXPECT_FALSE(called("requeue")) << outcome.output;
}

TEST_F(SlurmScript, ThreeStartsWithoutANewStepEndWith93) {
  for (int restarts = 0; restarts < 2; ++restarts) {
    EXPECT_EQ(start(restarts).code, 75);
    EXPECT_TRUE(called("scontrol requeue 7"));
  }
  const Outcome third = start(2);
  EXPECT_EQ(third.code, 93) << third.output;
  EXPECT_FALSE(called("requeue"));
  // Slurm started it again all the same, after a node failure say: nothing runs.
  const Outcome fourth = start(3);
  EXPECT_EQ(fourth.code, 93) << fourth.output;
  EXPECT_FALSE(called("srun"));
}

TEST_F(SlurmScript, ANewStepStartsTheCountAgain) {
  for (int restarts = 0; restarts < 7; ++restarts) {
    if (restarts == 2) write("save", "00000010");
    if (restarts == 3) write("save", "00000012");
    EXPECT_EQ(start(restarts).code, restarts < 6 ? 75 : 93) << restarts;
  }
}

TEST_F(SlurmScript, ANewJobStartsTheCountAgain) {
  for (int restarts = 0; restarts < 3; ++restarts) start(restarts);
  EXPECT_EQ(start(3).code, 93);
  EXPECT_EQ(start(0, {}, {"SLURM_JOB_ID=8"}).code, 75);
}

TEST_F(SlurmScript, CheckpointsThatAreNotWholeDoNotCount) {
  for (const char* name : {"step_00000050.tmp", "damaged_step_00000060", "abandoned_step_00000070"})
    fs::create_directories(sandbox_.path() / "run" / "checkpoints" / name);
  fs::create_directories(sandbox_.path() / "run" / "checkpoints" / "step_00000080");
  EXPECT_NE(start().output.find("run stands at step 80"), std::string::npos);
}

TEST_F(SlurmScript, ADamagedCountIsNone) {
  fs::create_directories(sandbox_.path() / "run");
  for (const char* text : {"", "0", "0 x", "\n\n", "garbage"}) {
    write("run/slurm_starts.7", text);
    EXPECT_EQ(start().code, 75) << text;
    EXPECT_EQ(read_text(sandbox_.path() / "run" / "slurm_starts.7"), "0 1\n") << text;
  }
}

TEST_F(SlurmScript, ACountThatCannotBeKeptEndsWith7) {
  write("run", "a file in the way");
  const Outcome outcome = start();
  EXPECT_EQ(outcome.code, 7) << outcome.output;
  EXPECT_FALSE(called("srun"));
}

TEST_F(SlurmScript, AWrongConfigurationStartsNothing) {
  const Outcome outcome = start(0, {"--set", "parallel.tp=3"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.output.find("parallel.tp"), std::string::npos) << outcome.output;
  EXPECT_FALSE(called("srun"));
  EXPECT_FALSE(fs::exists(sandbox_.path() / "run"));
}

// A checkpoint that the command line names is for the first start; later ones go on from what that one saved.
TEST_F(SlurmScript, AnotherCheckpointIsForTheFirstStart) {
  const std::vector<std::string> named{"--set", "checkpoint.resume=other/step_00000100"};
  start(0, named);
  EXPECT_FALSE(called("checkpoint.resume=auto")) << calls();
  start(1, named);
  EXPECT_TRUE(called("checkpoint.resume=other/step_00000100 --set checkpoint.resume=auto\n")) << calls();
}

TEST_F(SlurmScript, MembersOfAnArray) {
  const Outcome outcome = start(0, {"--set", "train.seed=%a"}, {"SLURM_JOB_ID=9", "SLURM_ARRAY_JOB_ID=9", "SLURM_ARRAY_TASK_ID=3"});
  EXPECT_EQ(outcome.code, 75);
  EXPECT_TRUE(called("--set train.seed=3 ")) << calls();
  EXPECT_TRUE(called("scontrol requeue 9_3\n")) << calls();
}

// Slurm runs a copy of the script, from a folder of its own.
TEST_F(SlurmScript, FindsTheBuildBesideTheOriginal) {
  const std::string home = (sandbox_.path() / "home").string(), program = home + "/build/release/drover";
  fs::create_directories(home + "/build/release");
  fs::create_directories(home + "/launch");
  std::ofstream(program) << "#!/bin/sh\nexec " << testing::drover_program() << " \"$@\"\n";
  fs::permissions(program, fs::perms::all);
  play("scontrol", "echo \"JobId=7 JobName=drover Command=" + home + "/launch/slurm.sbatch config.yaml WorkDir=/\"");
  EXPECT_EQ(start(0, {}, {"DROVER="}).code, 75);
  EXPECT_TRUE(called(program + " train config.yaml")) << calls();
}

TEST_F(SlurmScript, OutsideAJobSaysHowToSubmit) {
  const Outcome outcome = start(0, {}, {"SLURM_JOB_ID="});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.output.find("sbatch -N NODES"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace drover
