// What launch/packages.sh says when something is missing. The packages named here do not exist: nothing is ever installed.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Outcome;
using testing::Process;

std::vector<std::string> install(const std::string& packages, std::vector<std::string> as = {}) {
  for (const std::string& word :
       {std::string("bash"), std::string("-euc"), ". launch/packages.sh; install_packages demo " + packages + "; echo went on"})
    as.push_back(word);
  return as;
}

struct Packages : ::testing::Test {
  void SetUp() override {
    if (access("/usr/bin/dpkg-query", X_OK) != 0) GTEST_SKIP() << "no Debian or Ubuntu";
  }
};

TEST_F(Packages, NothingMissingNeedsNoRights) {
  std::vector<std::string> as;
  if (getuid() == 0) as = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  const Outcome outcome = testing::run_command(install("bash coreutils", as), DROVER_SOURCE_DIR);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.output, "went on\n");
}

TEST_F(Packages, WithoutRootSaysWhatToInstall) {
  if (getuid() != 0) GTEST_SKIP() << "takes root to become another user";
  const Outcome outcome = testing::run_command(
      install("bash drover-no-such-package", {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}), DROVER_SOURCE_DIR);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.output,
            "demo needs packages that are missing. As root: apt-get install -y --no-install-recommends drover-no-such-package\n");
}

TEST_F(Packages, WhatIsOptionalIsGoneWithoutAndSaid) {
  if (getuid() != 0) GTEST_SKIP() << "takes root to become another user";
  const Outcome outcome = testing::run_command(
      install("bash --optional coreutils drover-no-such-package", {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}),
      DROVER_SOURCE_DIR);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.output.rfind("demo goes on without drover-no-such-package: ", 0), 0u) << outcome.output;
  EXPECT_EQ(testing::last_line(outcome.output), "went on");
  EXPECT_EQ(testing::count(outcome.output, "\n"), 2) << outcome.output;
}

TEST_F(Packages, OnATerminalShowsTheLineAndAsks) {
  if (getuid() != 0) GTEST_SKIP() << "takes root to be asked";
  Process terminal(install("drover-no-such-package"), DROVER_SOURCE_DIR, Process::Output::terminal);
  ASSERT_TRUE(terminal.wait_for("Go on? [Y/n]")) << terminal.output();
  EXPECT_NE(terminal.output().find("apt-get install -y --no-install-recommends drover-no-such-package"), std::string::npos);
  terminal.type("n\n");
  const Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.output.find("Nothing was installed."), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace drover
