#include "kernels/base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>

#include "kernels/base/error.h"
#include "tests/file_trace.h"

namespace drover {
namespace {

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "drover_files_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // The message of the Error(storage) that `body` must throw.
  static std::string failure(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::storage);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  std::filesystem::path directory_;
};

TEST_F(Files, WriteAndReadAtOffsets) {
  const auto path = directory_ / "data";
  File file = File::create(path);
  file.allocate(100);
  EXPECT_EQ(file.size(), 100);
  file.allocate(0);
  file.write_at(90, "0123456789abcdef", 16);
  file.sync();
  EXPECT_EQ(file.size(), 106);
  char text[4];
  file.read_at(95, text, 4);
  EXPECT_EQ(std::string(text, 4), "5678");
  File moved = std::move(file);
  File again = File::open_read(path);
  again = std::move(moved);
  again.write_at(0, "x", 1);
  EXPECT_EQ(read_text(path).substr(0, 1), "x");
}

TEST_F(Files, DurableTextReplacesAndLeavesNoTemporary) {
  const auto path = directory_ / "LATEST";
  write_durably(path, "one");
  write_durably(path, "two");
  EXPECT_EQ(read_text(path), "two");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "LATEST.tmp"));
  write_durably(path, "");
  EXPECT_EQ(read_text(path), "");
  const auto old = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  write_durably("relative", "here");
  EXPECT_EQ(read_text("relative"), "here");
  std::filesystem::current_path(old);
}

TEST_F(Files, DirectoriesAreMadeWithTheirParents) {
  for (const char* path : {"a/b/c", "a/b/c", "a/d/", "e"}) {
    make_directories(directory_ / path);
    EXPECT_TRUE(std::filesystem::is_directory(directory_ / path)) << path;
  }
  const auto old = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  make_directories("relative/deep");
  make_directories("");
  EXPECT_TRUE(std::filesystem::is_directory("relative/deep"));
  std::filesystem::current_path(old);
  write_durably(directory_ / "file", "");
  EXPECT_EQ(failure([&] { make_directories(directory_ / "file"); }),
            "cannot make directory " + (directory_ / "file").string() + ": File exists");
  EXPECT_EQ(failure([&] { make_directories(directory_ / "file" / "below"); }),
            "cannot make directory " + (directory_ / "file").string() + ": File exists");
}

TEST_F(Files, DurableTextIsSyncedBeforeItsName) {
  const testing::FileTrace trace;
  write_durably(directory_ / "a", "text");
  const int renamed = trace.renamed_to(directory_ / "a");
  trace.expect_synced(directory_ / "a.tmp", renamed);
  trace.expect_directory_synced(directory_, renamed);
}

TEST_F(Files, DirectoriesAreDurableLevelByLevel) {
  const testing::FileTrace trace;
  make_directories(directory_ / "a" / "b");
  EXPECT_TRUE(std::filesystem::is_directory(directory_ / "a" / "b"));
  trace.expect_directory_synced(directory_, -1);
  trace.expect_directory_synced(directory_ / "a", -1);
  make_directories(directory_ / "a" / "b");
  write_durably(directory_ / "file", "");
  EXPECT_EQ(failure([&] { make_directories(directory_ / "file" / "c"); }),
            "cannot make directory " + (directory_ / "file").string() + ": File exists");
}

TEST_F(Files, ErrorsNameOperationPathAndReason) {
  const std::string missing = (directory_ / "missing" / "file").string();
  EXPECT_EQ(failure([&] { File::open_read(missing); }), "cannot open " + missing + ": No such file or directory");
  EXPECT_EQ(failure([&] { File::create(missing); }), "cannot create " + missing + ": No such file or directory");
  EXPECT_EQ(failure([&] { read_text(missing); }), "cannot open " + missing + ": No such file or directory");
  EXPECT_EQ(failure([&] { MappedFile file(missing); }), "cannot open " + missing + ": No such file or directory");
  EXPECT_EQ(failure([&] { sync_directory(missing); }), "cannot open directory " + missing + ": No such file or directory");
  EXPECT_EQ(failure([&] { write_durably(missing, ""); }), "cannot create " + missing + ".tmp: No such file or directory");
}

TEST_F(Files, AShortFileIsAnError) {
  const auto path = directory_ / "short";
  write_durably(path, "12345");
  char buffer[10];
  EXPECT_EQ(failure([&] { File::open_read(path).read_at(2, buffer, 10); }),
            "cannot read " + path.string() + ": it ends at byte 5, 7 more were expected");
}

TEST_F(Files, AFailedDurableWriteKeepsTheOldFile) {
  const auto path = directory_ / "kept";
  write_durably(path, "old");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit small = old;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = failure([&] { write_durably(path, std::string(5000, 'x')); });
  const std::string reserved = failure([&] { File::create(directory_ / "large").allocate(5000); });
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_EQ(message, "cannot write " + path.string() + ".tmp: File too large");
  EXPECT_EQ(reserved, "cannot allocate 5000 bytes for " + (directory_ / "large").string() + ": File too large");
  EXPECT_EQ(read_text(path), "old");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".tmp"));
}

TEST_F(Files, RenameOntoADirectoryIsAnError) {
  const auto path = directory_ / "taken";
  std::filesystem::create_directory(path);
  EXPECT_EQ(failure([&] { write_durably(path, "x"); }), "cannot rename to " + path.string() + ": Is a directory");
}

TEST_F(Files, AFullDiskSaysSo) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  EXPECT_EQ(failure([] { File::create("/dev/full").write_at(0, "x", 1); }), "cannot write /dev/full: No space left on device");
}

TEST_F(Files, MappingShowsTheBytesAndMoves) {
  const auto path = directory_ / "mapped";
  write_durably(path, "hello");
  MappedFile first(path);
  MappedFile second(std::move(first));
  EXPECT_TRUE(first.bytes().empty());  // NOLINT(bugprone-use-after-move): what is left is under test
  ASSERT_EQ(second.bytes().size(), 5u);
  EXPECT_EQ(std::memcmp(second.bytes().data(), "hello", 5), 0);
  write_durably(directory_ / "empty", "");
  EXPECT_TRUE(MappedFile(directory_ / "empty").bytes().empty());
}

}  // namespace
}  // namespace drover
