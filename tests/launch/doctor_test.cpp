// drover doctor on this machine: what is well, and what a test can make wrong without another host.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

struct DoctorOnThisHost : ::testing::Test {
  DoctorOnThisHost() { sandbox.configure({{"run.dir", "run/of/mine"}}); }
  // After `before`, a line of shell.
  Outcome doctor(const std::string& arguments, const std::string& before = ":") const {
    return testing::run_command({"sh", "-c", before + "; exec " + testing::drover_program() + " doctor --ranks 2 " + arguments},
                                sandbox.path());
  }
  static void expect_no_go(const Outcome& outcome, const std::string& check, const std::vector<std::string>& words) {
    EXPECT_EQ(outcome.code, 8) << outcome.output;
    EXPECT_NE(outcome.output.find("NO-GO  " + check), std::string::npos) << outcome.output;
    EXPECT_EQ(testing::last_line(outcome.output).rfind("no-go: ", 0), 0u) << outcome.output;
    EXPECT_NE(testing::last_line(outcome.output).find(check), std::string::npos) << outcome.output;
    for (const std::string& word : words)
      EXPECT_NE(outcome.output.find(word), std::string::npos) << "no \"" << word << "\" in: " << outcome.output;
  }
  void install_mpirun(const std::string& body) const {
    fs::create_directory(sandbox.path() / "bin");
    std::ofstream(sandbox.path() / "bin" / "mpirun") << "#!/bin/sh\n" << body << "\n";
    chmod((sandbox.path() / "bin" / "mpirun").c_str(), 0755);
  }
  testing::Sandbox sandbox;
};

TEST_F(DoctorOnThisHost, AloneItGoesAndLeavesNothingBehind) {
  const Outcome outcome = testing::run_command({testing::drover_program(), "doctor"}, sandbox.path());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::last_line(outcome.output), "go") << outcome.output;
  for (const char* check :
       {"versions ", "locked memory ", "open files ", "shared memory ", "cores ", "disk ", "free space ", "MPI ", "heartbeat "})
    EXPECT_EQ(testing::count(outcome.output, std::string("\n  go     ") + check), 1) << check << " in " << outcome.output;
  constexpr const char* kVersion = "drover " DROVER_VERSION ", g++ ";
  for (const char* version : {kVersion, "build ", "MPI", "HDF5 ", "Linux "})
    EXPECT_NE(outcome.output.find(version), std::string::npos) << version << " in " << outcome.output;
  EXPECT_FALSE(fs::exists(sandbox.path() / "runs"));
}

TEST_F(DoctorOnThisHost, KnowsWhatAConfigurationNeeds) {
  const Outcome outcome = doctor("config.yaml --set checkpoint.every=5 --set checkpoint.keep=2");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find(" in run/of/mine; 3 checkpoints of 2 MB need "), std::string::npos) << outcome.output;
  EXPECT_FALSE(fs::exists(sandbox.path() / "run"));
  const Outcome wrong = doctor("config.yaml --set model.hidden=0");
  EXPECT_EQ(wrong.code, 2) << wrong.output;
}

TEST_F(DoctorOnThisHost, UnderTheLauncherToo) {
  const Outcome outcome = testing::run_command(sandbox.on_ranks(2, {"doctor"}), sandbox.path());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "drover doctor: 2 ranks on 1 host ("), 1) << outcome.output;
}

TEST_F(DoctorOnThisHost, Limits) {
  expect_no_go(doctor("", "ulimit -n 120"), "open files", {"120 on ", "2 ranks need 164", "remedy: `ulimit -n 65536`"});
  expect_no_go(doctor("", "ulimit -l 16"), "locked memory", {"16 kB on ", "remedy: `ulimit -l unlimited`"});
}

TEST_F(DoctorOnThisHost, CoresAndBinding) {
  expect_no_go(doctor("config.yaml --set run.threads=4000"), "cores",
               {"for 2 ranks of 4000 threads", "remedy: fewer ranks or threads"});
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one core cannot be shared wrongly";
  expect_no_go(doctor("", "exec taskset -c 0 sh -c '" + testing::drover_program() + " doctor --ranks 2'"), "cores",
               {"1 of ", "for 2 ranks of 1 thread, rank 0 bound to 1 of ", "no taskset or cpuset"});
}

TEST_F(DoctorOnThisHost, DirectoryThatCannotBeWritten) {
  std::ofstream(sandbox.path() / "file") << "in the way";
  expect_no_go(doctor("config.yaml --set run.dir=file/run"), "disk",
               {"cannot make file/run", "Not a directory", "remedy: another run.dir"});
}

TEST_F(DoctorOnThisHost, SmallDisk) {
  const fs::path disk = sandbox.path() / "disk";
  fs::create_directory(disk);
  if (mount("none", disk.c_str(), "tmpfs", 0, "size=6m") != 0) GTEST_SKIP() << "needs root to mount a small file system";
  const Outcome outcome = doctor("config.yaml --set run.dir=disk/run --set checkpoint.every=1 --set checkpoint.keep=5");
  umount(disk.c_str());
  expect_no_go(outcome, "free space", {"6 MB in disk/run; 6 checkpoints of 2 MB need ", "checkpoint.keep"});
}

// A save of terabytes onto one disk.
TEST_F(DoctorOnThisHost, SlowDisk) {
  expect_no_go(
      testing::run_command({testing::drover_program(), "doctor", DROVER_SOURCE_DIR "/configs/llama3_405b.yaml"}, sandbox.path()),
      "disk", {"a checkpoint of 4.9 TB takes ", "remedy: a faster file system"});
}

TEST_F(DoctorOnThisHost, MpiThatFails) {
  install_mpirun("echo 'the fabric is upside down' >&2; exit 1");
  expect_no_go(doctor("", "export PATH=$PWD/bin:$PATH"), "MPI",
               {"this host alone", "MPI               the fabric is upside down", "remedy: `launch/mpirun.sh -np 2 hostname`"});
  install_mpirun("exec sleep 100");
  expect_no_go(doctor("--limit 2", "export PATH=$PWD/bin:$PATH"), "MPI", {"2 ranks did not answer within 2 s"});
}

TEST_F(DoctorOnThisHost, EveryHostIsLookedAt) {
  std::ofstream(sandbox.path() / "hostfile") << "a slots=2\nb slots=2\n";
  const Outcome outcome = doctor("--hosts hostfile");  // with --ranks 2
  EXPECT_EQ(outcome.code, 2) << outcome.output;
  EXPECT_NE(outcome.output.find("--ranks 2 does not reach the last of the 2 hosts of hostfile: at least 3"), std::string::npos)
      << outcome.output;
  std::ofstream(sandbox.path() / "hostfile") << "a\nb\n";
  const Outcome without = doctor("--hosts hostfile");
  EXPECT_EQ(without.code, 2) << without.output;
  EXPECT_NE(without.output.find("hostfile hostfile, line 1: \"a\"; a line a host: HOST slots=RANKS"), std::string::npos)
      << without.output;
}

TEST_F(DoctorOnThisHost, HostfileThatNamesNothing) {
  std::ofstream(sandbox.path() / "hostfile") << "# nobody\n";
  for (const char* file : {"hostfile", "missing"}) {
    const Outcome outcome = doctor(std::string("--hosts ") + file);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find(std::string("hostfile ") + file), std::string::npos) << outcome.output;
  }
}

}  // namespace
}  // namespace drover
