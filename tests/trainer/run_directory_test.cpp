#include "trainer/run_directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "kernels/base/error.h"

namespace drover {
namespace {

namespace fs = std::filesystem;

class Directory : public ::testing::Test {
 protected:
  Directory() {
    std::string name = fs::temp_directory_path() / "run_XXXXXX";
    parent_ = mkdtemp(name.data());
  }
  ~Directory() override { fs::remove_all(parent_); }
  fs::path path() const { return parent_ / "runs" / "mine"; }
  fs::path parent_;
};

template <class Body> std::string refusal(ExitCode code, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

TEST_F(Directory, IsMadeWithItsParents) {
  const RunDirectory directory(path(), 0);
  EXPECT_TRUE(fs::is_directory(path()));
  EXPECT_FALSE(directory.holds_run());
}

TEST_F(Directory, HoldsARunOnceSomethingWasTrained) {
  const RunDirectory directory(path(), 0);
  directory.write_config("model: {}\n");
  std::ofstream(directory.metrics()) << "";
  fs::create_directory(path() / "checkpoints");
  EXPECT_FALSE(directory.holds_run()) << "stopped before its first step";
  std::ofstream(directory.metrics()) << "{}\n";
  EXPECT_TRUE(directory.holds_run());
  std::ofstream(directory.metrics()) << "";
  fs::create_directory(path() / "checkpoints" / "step_00000000");
  EXPECT_TRUE(directory.holds_run());
}

TEST_F(Directory, SecondRunIsRefusedUntilTheFirstEnds) {
  {
    const RunDirectory first(path(), 0);
    const std::string said = refusal(ExitCode::resume, [&] { RunDirectory second(path(), 0); });
    EXPECT_NE(said.find("process " + std::to_string(getpid()) + " on "), std::string::npos) << said;
  }
  const RunDirectory third(path(), 0);
}

// The lock is the kernel's: one that was killed leaves none.
TEST_F(Directory, AKilledRunLeavesNoLock) {
  const pid_t child = fork();
  if (child == 0) {
    const RunDirectory directory(path(), 0);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const RunDirectory next(path(), 0);
}

TEST_F(Directory, TooLittleSpaceIsSaidBeforeTheRun) {
  const std::string said = refusal(ExitCode::storage, [&] { RunDirectory directory(path(), int64_t{1} << 60); });
  EXPECT_NE(said.find("are free"), std::string::npos) << said;
}

TEST_F(Directory, AFileInTheWayIsNamed) {
  std::ofstream(parent_ / "runs") << "";
  const std::string said = refusal(ExitCode::storage, [&] { RunDirectory directory(path(), 0); });
  EXPECT_NE(said.find(path()), std::string::npos) << said;
}

}  // namespace
}  // namespace drover
