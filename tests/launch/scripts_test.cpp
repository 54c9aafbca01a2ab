// The scripts of launch/ before they build anything: help from any directory, and texts that are looked at first.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

class Scripts : public ::testing::Test {
 protected:
  Scripts() {
    std::string name = fs::temp_directory_path() / "scripts XXXXXX";  // with a blank
    directory_ = mkdtemp(name.data());
  }
  ~Scripts() override { fs::remove_all(directory_); }

  static void write_script(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }
  fs::path directory_;
};

TEST_F(Scripts, HelpFromAnotherDirectoryByARelativePath) {
  const fs::path root = fs::relative(DROVER_SOURCE_DIR, directory_);
  for (const std::string script : {"test", "quickstart"}) {
    const Outcome outcome = testing::run_command({root / "launch" / script, "--help"}, directory_);
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    EXPECT_NE(outcome.output.find("  launch/" + script + " ["), std::string::npos) << outcome.output;
    EXPECT_EQ(outcome.output.find("No such file"), std::string::npos) << outcome.output;
  }
}

TEST_F(Scripts, QuickstartRefusesATextBeforeItBuilds) {
  const std::string script = DROVER_SOURCE_DIR "/launch/quickstart";
  const Outcome missing = testing::run_command({script, "--text", "none.txt"}, directory_);
  EXPECT_EQ(missing.code, 4);
  EXPECT_EQ(missing.output, "launch/quickstart: none.txt is not a file that can be read\n");
  const Outcome nothing = testing::run_command({script, "--text", "--again"}, directory_);
  EXPECT_EQ(nothing.code, 2);
  EXPECT_EQ(nothing.output, "launch/quickstart: --text takes at least one file\n");
}

// A copy of the scripts with a build that does nothing and a program that says what it was asked to prepare.
TEST_F(Scripts, QuickstartTakesTextsFromTheCallersDirectory) {
  const fs::path copy = directory_ / "copy of it", programs = directory_ / "programs";
  fs::create_directories(copy);
  fs::copy(DROVER_SOURCE_DIR "/launch", copy / "launch", fs::copy_options::recursive);
  write_script(programs / "cmake", "exit 0");
  write_script(programs / "dpkg-query", "echo install ok installed");
  write_script(copy / "build/release/drover", "[ \"$1\" != prepare ] || { echo \"prepare: $8, $9\"; exit 9; }");
  for (const char* name : {"my text.txt", "b.txt"}) std::ofstream(directory_ / name) << "words\n";
  const Outcome outcome = testing::run_command({copy / "launch/quickstart", "--text", "my text.txt", "b.txt"}, directory_,
                                               {"PATH=" + programs.string() + ":" + std::getenv("PATH")});
  EXPECT_EQ(outcome.code, 9) << "the program's own code; " << outcome.output;
  const std::string expected =
      "prepare: " + fs::canonical(directory_ / "my text.txt").string() + ", " + fs::canonical(directory_ / "b.txt").string() + "\n";
  EXPECT_NE(outcome.output.find(expected), std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find("--again"), std::string::npos) << "no other text was prepared before: " << outcome.output;
}

}  // namespace
}  // namespace drover
