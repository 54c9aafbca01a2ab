// drover doctor over two hosts.
#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "tests/end_to_end/hosts.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;
using testing::TwoHosts;

struct DoctorOnTwoHosts : ::testing::Test {
  void SetUp() override {
    static const std::string missing = TwoHosts::missing();
    if (!missing.empty()) GTEST_SKIP() << missing;
    sandbox.configure({{"run.dir", "run"}});
    hosts.emplace(sandbox);
  }
  Outcome doctor() const {
    return testing::run_command(hosts->on_first({testing::drover_program(), "doctor", "config.yaml", "--hosts", "hostfile"}),
                                sandbox.path());
  }
  static void expect_no_go(const Outcome& outcome, const std::string& check, const std::vector<std::string>& words) {
    EXPECT_EQ(outcome.code, 8) << outcome.output;
    EXPECT_NE(outcome.output.find("NO-GO  " + check), std::string::npos) << outcome.output;
    const std::string verdict = testing::last_line(outcome.output);  // which may name the network of a busy machine too
    EXPECT_TRUE(verdict.starts_with("no-go: ") && verdict.find(check) != std::string::npos) << outcome.output;
    for (const std::string& word : words)
      EXPECT_NE(outcome.output.find(word), std::string::npos) << "no \"" << word << "\" in: " << outcome.output;
  }
  testing::Sandbox sandbox;
  std::optional<TwoHosts> hosts;
};

TEST_F(DoctorOnTwoHosts, Go) {
  const Outcome outcome = doctor();
  // The network's rate is measured, and this machine may be busy: it alone may be below what a cluster needs.
  const std::string verdict = testing::last_line(outcome.output);
  EXPECT_TRUE(verdict == "go" || verdict == "no-go: network") << outcome.output;
  EXPECT_EQ(outcome.code, verdict == "go" ? 0 : 8) << outcome.output;
  for (const char* word : {"drover doctor: 4 ranks on 2 hosts (hosta, hostb)", "network           slowest hosta to hostb: ",
                           "go     shared directory  every host sees", "go     clocks            host", "all-reduce over 4 ranks"})
    EXPECT_EQ(testing::count(outcome.output, word), 1) << word << " in " << outcome.output;
}

TEST_F(DoctorOnTwoHosts, AMissingHost) {
  std::ofstream(sandbox.path() / "hostfile", std::ios::app) << "hostc slots=1\n";
  expect_no_go(doctor(), "MPI",
               {"this host alone (hosta), as if it had all 5 ranks", "no route to host hostc", "ssh HOST orted --version"});
}

TEST_F(DoctorOnTwoHosts, AnotherBuild) {
  const fs::path other = sandbox.path() / "other";
  fs::copy_file(testing::drover_program(), other);
  std::ofstream(other, std::ios::app) << "another";
  hosts->mount_over(1, other, testing::drover_program());
  expect_no_go(doctor(), "versions", {"hostb: drover ", ", but hosta: drover ", "remedy: the same program"});
}

TEST_F(DoctorOnTwoHosts, ASlowNetwork) {
  for (const int host : {0, 1})
    hosts->require(host,
                   {"tc", "qdisc", "add", "dev", "cable", "root", "tbf", "rate", "50mbit", "burst", "64kb", "latency", "400ms"});
  expect_no_go(doctor(), "network",
               {"slowest hosta to hostb: ", "remedy: the interface meant for it: OMPI_MCA_btl_tcp_if_include"});
}

TEST_F(DoctorOnTwoHosts, ADirectoryThatIsNotShared) {
  fs::create_directory(sandbox.path() / "run");
  hosts->hide(1, sandbox.path() / "run");
  expect_no_go(doctor(), "shared directory",
               {"hostb does not see what hosta wrote", "remedy: a run.dir on a file system that all hosts share"});
}

TEST_F(DoctorOnTwoHosts, LittleSharedMemory) {
  hosts->require(1, {"mount", "-o", "remount,size=30m", "/dev/shm"});
  const Outcome outcome = doctor();  // which may find that MPI does not work, too
  EXPECT_EQ(outcome.code, 8) << outcome.output;
  EXPECT_NE(outcome.output.find("NO-GO  shared memory"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("MB free in /dev/shm on hostb; 2 ranks need 34 MB"), std::string::npos) << outcome.output;
}

// The program there is a script that sets a clock of its own before it starts the real one.
TEST_F(DoctorOnTwoHosts, AClockThatIsWrong) {
  const fs::path wrapper = sandbox.path() / "wrapper", real = sandbox.path() / "drover";
  if (!fs::exists(DROVER_BUILD_DIR "/libskewed_clock.so")) GTEST_SKIP() << "not with sanitizers, which come first in a process";
  fs::copy_file(testing::drover_program(), real);
  std::ofstream(wrapper) << "#!/bin/sh\nLD_PRELOAD=" DROVER_BUILD_DIR "/libskewed_clock.so exec " << real.string() << " \"$@\"\n";
  fs::permissions(wrapper, fs::perms::owner_all);
  hosts->mount_over(1, wrapper, testing::drover_program());
  expect_no_go(doctor(), "clocks", {"hostb is 1 min 30 s ahead of hosta", "remedy: a time service"});
}

}  // namespace
}  // namespace drover
