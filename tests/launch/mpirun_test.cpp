// launch/mpirun.sh around programs that are not Drover, and what a person sees of a run through it.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Outcome;
using testing::Process;

Outcome launch(const std::vector<std::string>& arguments) {
  std::vector<std::string> command{testing::mpirun_script()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return testing::run_command(command, "/");
}

TEST(Mpirun, SaysTheBindingOnceAndPassesTheOutputOn) {
  const Outcome outcome = launch({"-np", "3", "sh", "-c", "echo rank $OMPI_COMM_WORLD_RANK; echo trouble >&2"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "mpirun.sh: 3 ranks"), 1) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "trouble"), 3) << outcome.output;
  for (const char* rank : {"rank 0", "rank 1", "rank 2"}) EXPECT_EQ(testing::count(outcome.output, rank), 1) << outcome.output;
}

TEST(Mpirun, OurFirstErrorIsTheLastThingOnTheScreen) {
  const std::string program =
      "[ $OMPI_COMM_WORLD_RANK = 1 ] && sleep 1; echo \"drover: error: cause $OMPI_COMM_WORLD_RANK\" >&2; echo noise >&2; "
      "[ $OMPI_COMM_WORLD_RANK = 1 ] && exit 7; sleep 30";
  const Outcome outcome = launch({"-np", "2", "sh", "-c", program});
  EXPECT_EQ(outcome.code, 7) << outcome.output;
  EXPECT_EQ(testing::last_line(outcome.output), "drover: error: cause 0") << outcome.output;
}

// An mpirun whose ranks have ended and that waits for none of them: as prterun 5.0.7 at times, which then waits for a lock of its own.
TEST(Mpirun, EndsAnOpenMpiThatDoesNotNoticeThatAllRanksHaveEnded) {
  const testing::Sandbox sandbox;
  const std::filesystem::path programs = sandbox.path() / "bin", mpirun = programs / "mpirun";
  std::filesystem::create_directory(programs);
  struct Case {
    const char *first, *second;
    int code;
  };
  // In the second case a rank is alive for longer than OpenMPI is waited for when all are dead.
  for (const auto& [first, second, code] :
       {Case{"exit 0", "exit 0", 0}, {"sleep 12; exit 99", "exit 75", 99}, {"exit 75", "kill -SEGV $$", 139}}) {
    std::ofstream(mpirun) << "#!/bin/bash\n[ \"$1\" != --version ] || { echo 'mpirun (Open MPI) 5.0.7'; exit; }\n"
                          << "bash -c 'sleep 1; " << first << "' &\nbash -c 'sleep 1; " << second << "' &\nexec sleep 600\n";
    std::filesystem::permissions(mpirun, std::filesystem::perms::owner_all);
    const Outcome outcome = testing::run_command({testing::mpirun_script(), "-np", "2", "true"}, sandbox.path(),
                                                 {"PATH=" + programs.string() + ":" + std::getenv("PATH")});
    EXPECT_EQ(outcome.code, code) << outcome.output;
    EXPECT_EQ(testing::count(outcome.output, "all ranks have ended, which OpenMPI did not notice"), 1) << outcome.output;
  }
}

TEST(Mpirun, WhatCannotBeRunIsRefused) {
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{}, {"-np"}, {"-np", "two", "true"}, {"-np", "0", "true"}, {"-np", "2"}}) {
    const Outcome outcome = launch(wrong);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find("launch/mpirun.sh -np N"), std::string::npos) << outcome.output;
  }
  const Outcome missing = launch({"-np", "2", "build/nothing"});
  EXPECT_EQ(missing.code, 2) << missing.output;
  EXPECT_NE(missing.output.find("build/nothing cannot be run"), std::string::npos) << missing.output;
  EXPECT_EQ(testing::count(missing.output, "\n"), 1) << missing.output;
}

TEST(Mpirun, Help) {
  const Outcome outcome = launch({"--help"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("launch/mpirun.sh -np N"), std::string::npos) << outcome.output;
}

// OpenMPI 4 says which rank it was in some runs, in others only that one died. (drover: fault.Launch.ADeadRankIsNamed.)
TEST(Mpirun, SaysWhichSignalEndedARank) {
  const Outcome outcome = launch({"-np", "3", "sh", "-c", "[ $OMPI_COMM_WORLD_RANK = 1 ] && kill -SEGV $$; sleep 30"});
  EXPECT_EQ(outcome.code, 139) << outcome.output;
  const std::string last = testing::last_line(outcome.output);
  EXPECT_TRUE(last.rfind("mpirun.sh: rank 1 on ", 0) == 0 || last.rfind("mpirun.sh: a rank was ended by ", 0) == 0)
      << outcome.output;
  EXPECT_NE(last.find("signal 11 (SEGV)"), std::string::npos) << outcome.output;
}

TEST(Mpirun, WhatCannotBeStartedIsSaidInTheLastLine) {
  const Outcome program = launch({"-np", "2", "/nowhere/drover"});
  EXPECT_EQ(program.code, 2) << program.output;
  EXPECT_EQ(testing::last_line(program.output).rfind("mpirun.sh: /nowhere/drover cannot be run: no such program", 0), 0u)
      << program.output;
  const Outcome hostfile = launch({"-np", "2", "--hostfile", "/nowhere/hosts", "true"});
  EXPECT_EQ(hostfile.code, 2) << hostfile.output;
  EXPECT_NE(testing::last_line(hostfile.output).find("/nowhere/hosts cannot be read"), std::string::npos) << hostfile.output;
}

TEST(Mpirun, AHostfileThatIsNoneIsRefused) {
  testing::Sandbox sandbox;
  const std::string path = sandbox.path() / "hosts";
  for (const auto& [text, problem] : std::vector<std::pair<std::string, std::string>>{
           {"a slots=2\nb slots=x\n", "line 2: \"b slots=x\"; a line a host: HOST slots=RANKS"},
           {"a slots=0\n", "line 1: \"a slots=0\""},
           {"a:2\n", "line 1: \"a:2\""},
           {"a\n", "line 1: \"a\""},
           {"a slots=1 b slots=1\n", "line 1: "},
           {"a slots=1\n# b\na slots=2\n", "line 3: a stands in line 1 already"},
           {"# nobody\n", "it names no host"}}) {
    std::ofstream(path) << text;
    const Outcome outcome = launch({"-np", "2", "--hostfile", path, "true"});
    EXPECT_EQ(outcome.code, 2) << text;
    std::string told = "hostfile " + path + ", ";
    told += problem;
    EXPECT_NE(testing::last_line(outcome.output).find(told), std::string::npos) << outcome.output;
  }
}

TEST(Mpirun, SaysWhatIsWrongWithItsArguments) {
  EXPECT_EQ(testing::last_line(launch({"-np", "two", "true"}).output), "mpirun.sh: -np two: a number of ranks, at least 1");
  EXPECT_EQ(testing::last_line(launch({"-np", "2"}).output), "mpirun.sh: a command is missing");
  EXPECT_EQ(testing::last_line(launch({"true"}).output), "mpirun.sh: -np N is missing");
}

TEST(Mpirun, TheFirstErrorIsLastWhateverIsIndented) {
  const Outcome outcome =
      launch({"-np", "1", "sh", "-c", "printf 'drover: error: X\\n  detail\\nnoise\\n  Local host: a\\n' >&2; exit 6"});
  EXPECT_TRUE(outcome.output.ends_with("  Local host: a\ndrover: error: X\n  detail\n")) << outcome.output;
}

// A bar that is drawn over on a terminal, plain lines in a log; rank 0 alone speaks.
TEST(Mpirun, ProgressBarOnATerminalOnly) {
  testing::Sandbox sandbox;
  sandbox.configure({});
  const auto command = [&](const std::string& run) { return sandbox.on_ranks(2, sandbox.train_arguments({2, 1, 1}, run, {})); };
  Process terminal(command("seen"), sandbox.path(), Process::Output::terminal);
  const Outcome seen = terminal.wait();
  ASSERT_EQ(seen.code, 0) << seen.output;
  EXPECT_GE(testing::count(seen.output, "\r\033[K"), 10) << seen.output;
  EXPECT_NE(seen.output.find("█"), std::string::npos) << seen.output;
  EXPECT_NE(seen.output.find("% of GEMM rate"), std::string::npos) << seen.output;
  EXPECT_NE(seen.output.find(" left"), std::string::npos) << seen.output;

  const Outcome logged = testing::run_command(command("logged"), sandbox.path());
  ASSERT_EQ(logged.code, 0) << logged.output;
  EXPECT_EQ(testing::count(logged.output, "\033"), 0) << logged.output;
  EXPECT_EQ(testing::count(logged.output, "█"), 0) << logged.output;
  EXPECT_EQ(testing::count(logged.output, "step 20/20"), 1) << logged.output;
  EXPECT_EQ(testing::count(logged.output, "done: 20 steps"), 1) << logged.output;
}

}  // namespace
}  // namespace drover
