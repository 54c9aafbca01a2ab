// Saves that are killed at every stage, and disks that fill up: the previous checkpoint stays valid and the next save works.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>

#include "tests/trainer/checkpoint/testing.h"

namespace drover {
namespace {

using namespace checkpoint_testing;  // NOLINT: the tests' own vocabulary

bool temporary_left(const fs::path& directory) {
  for (const std::string& name : names_in(directory))
    if (name.starts_with(".tmp_")) return true;
  return false;
}

// Every (rank, stage) that a save passes.
std::vector<std::pair<int, std::string>> stages_of_a_save(const fs::path& run) {
  std::vector<std::pair<int, std::string>> stages;
  std::mutex mutex;
  Cut cut(model(), 1, 2);
  save(run, cut, 1, 0, [&](int rank, const std::string& stage) {
    const std::lock_guard lock(mutex);
    stages.emplace_back(rank, stage);
  });
  return stages;
}

TEST(CheckpointFault, KilledAtEveryStage) {
  const Directory scratch;
  const auto stages = stages_of_a_save(scratch.path / "stages");
  ASSERT_GE(stages.size(), 14u);
  for (const auto& [rank, stage] : stages) {
    SCOPED_TRACE("rank " + std::to_string(rank) + " at " + stage);
    const fs::path run = scratch.path / "run";
    fs::remove_all(run);
    save(run, 1);
    const pid_t child = fork();
    if (child == 0) {
      Cut cut(model(), 2, 2);
      cut.fill(2);
      save(run, cut, 2, 0, [&, r = rank, s = stage](int at_rank, const std::string& at_stage) {
        if (at_rank == r && at_stage == s) kill(getpid(), SIGKILL);
      });
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    const bool published = stage == "published" || stage == "LATEST replaced";
    EXPECT_EQ(latest_step(run), published ? 2 : 1);
    EXPECT_TRUE(loads(run, 1));
    EXPECT_TRUE(!published || loads(run, 2));
    save(run, 3);
    EXPECT_EQ(latest_step(run), 3);
    EXPECT_TRUE(loads(run, 3));
    EXPECT_FALSE(temporary_left(run / "checkpoints"));
  }
}

// A file system of its own, of one MiB.
class SmallDisk {
 public:
  SmallDisk() : path(scratch_.path / "disk") {
    fs::create_directories(path);
    mounted = ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~SmallDisk() {
    if (mounted) ::umount2(path.c_str(), MNT_DETACH);
  }
  void fill() const {
    std::ofstream out(path / "junk", std::ios::binary);
    const std::string block(4096, 'x');
    while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void free() const { fs::remove(path / "junk"); }

 private:
  Directory scratch_;

 public:
  const fs::path path;
  bool mounted = false;
};

TEST(CheckpointFault, FullDisk) {
  const SmallDisk disk;
  if (!disk.mounted) GTEST_SKIP() << "mounting a small disk takes a root who may: " << std::strerror(errno);
  const fs::path run = disk.path / "run";
  save(run, 1);
  std::vector<std::string> stages{""};
  for (const auto& [rank, stage] : stages_of_a_save(disk.path / "stages"))
    if (rank == 0) stages.push_back(stage);
  fs::remove_all(disk.path / "stages");
  ASSERT_GE(stages.size(), 10u);
  for (const std::string& full_at : stages) {
    SCOPED_TRACE("full at \"" + full_at + "\"");
    Cut cut(model(), 2, 2);
    cut.fill(2);
    if (full_at.empty()) disk.fill();
    const bool all_is_written = full_at == "LATEST replaced",
               only_latest_is_not = full_at == "manifest written" || full_at == "published";
    std::vector<std::string> errors(2);
    std::mutex turn;
    run_ranks(2, [&](Communicator& world) {
      CheckpointStore store(run, world);
      std::unique_lock lock(turn, std::defer_lock);
      store.on_stage([&](const std::string& stage) {
        if (stage == full_at && world.rank() == 0) disk.fill();
        if (stage == "directory made") take_turn(lock);
        if (stage == "skeleton made" && lock) lock.unlock();
      });
      try {
        store.save(state_at(2), cut.of_rank[static_cast<size_t>(world.rank())], only_latest_is_not || all_is_written ? 0 : 1);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::storage);
        errors[static_cast<size_t>(world.rank())] = error.what();
      }
    });
    EXPECT_EQ(errors[0].find("No space left on device") == std::string::npos, all_is_written) << errors[0];
    EXPECT_EQ(errors[0].find("is saved, but LATEST") != std::string::npos, only_latest_is_not) << errors[0];
    EXPECT_EQ(errors[0], errors[1]) << "all ranks say the same";
    disk.free();
    EXPECT_EQ(latest_step(run), all_is_written || only_latest_is_not ? 2 : 1);
    EXPECT_TRUE(loads(run, 1));
    EXPECT_EQ(bytes_of(run / "checkpoints/LATEST"), all_is_written ? "step_00000002\n" : "step_00000001\n");
    EXPECT_FALSE(temporary_left(run / "checkpoints"));
    fs::remove_all(run / "checkpoints/step_00000002");
  }
  save(run, 3);
  EXPECT_EQ(latest_step(run), 3);
}

// Containers have a small /dev/shm, and others fill it: a save does not need it.
TEST(CheckpointFault, FullSharedMemory) {
  const Directory scratch;
  constexpr int kCannot = 77;
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4k") != 0)
      _exit(kCannot);
    try {
      save(scratch.path / "run", 1);
    } catch (const std::exception&) {
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannot) GTEST_SKIP() << "a mount of its own takes a root who may";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(loads(scratch.path / "run", 1));
}

}  // namespace
}  // namespace drover
