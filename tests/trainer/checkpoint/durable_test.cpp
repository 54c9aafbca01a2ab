// What a save asks of the disk, and in which order: after a power cut at any instant, a name stands for a whole checkpoint or for none.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <map>

#include "tests/trainer/checkpoint/testing.h"

namespace drover {
namespace {

using namespace checkpoint_testing;  // NOLINT: the tests' own vocabulary

struct Event {
  std::string call, path, to;
};
struct Recorder {
  std::mutex mutex;
  std::vector<Event> events;
};
std::atomic<Recorder*> recorder = nullptr;

void record(const Event& event) {
  Recorder* to = recorder;
  if (to == nullptr) return;
  const std::lock_guard lock(to->mutex);
  to->events.push_back(event);
}

}  // namespace
}  // namespace drover

// In place of the C library's: the call is noted, then made.
extern "C" int fsync(int descriptor) {
  char path[PATH_MAX] = {};
  if (readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path - 1) > 0)
    drover::record({"sync", path, ""});
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}
extern "C" int rename(const char* from, const char* to) noexcept {
  drover::record({"rename", from, to});
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
extern "C" int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) noexcept {
  drover::record({"rename", from, to});
  return static_cast<int>(syscall(SYS_renameat2, from_directory, from, to_directory, to, flags));
}
extern "C" int mkdir(const char* path, mode_t mode) noexcept {
  drover::record({"mkdir", path, ""});
  return static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

namespace drover {
namespace {

template <class Body> std::vector<Event> events_of(Body&& body) {
  Recorder mine;
  recorder = &mine;
  EXPECT_NO_THROW(body());
  recorder = nullptr;
  return mine.events;
}

size_t place(const std::vector<Event>& events, const std::string& call, const fs::path& path, size_t from = 0) {
  for (size_t i = from; i < events.size(); ++i)
    if (events[i].call == call && (events[i].path == path || events[i].to == path)) return i;
  ADD_FAILURE() << "no " << call << " of " << path << " from event " << from << " on";
  return events.size();
}

TEST(CheckpointDurable, SyncedBeforeItIsNamed) {
  const Directory scratch;
  const fs::path run = scratch.path / "runs/mine", checkpoints = run / "checkpoints",
                 temporary = checkpoints / ".tmp_step_00000001", step = checkpoints / "step_00000001";
  const std::vector<Event> events = events_of([&] { save(run, 1, 3); });
  const size_t named = place(events, "rename", step);
  for (const std::string& name : names_in(step)) {
    const fs::path file = temporary / name;
    const bool renamed = name == "manifest.pb";  // synced under a temporary name of its own
    EXPECT_LT(place(events, "sync", renamed ? file.string() + ".tmp" : file.string()), named) << name;
    if (renamed) {
      EXPECT_LT(place(events, "rename", file), place(events, "sync", temporary, place(events, "rename", file)));
    }
  }
  const size_t directory = place(events, "sync", temporary), parent = place(events, "sync", checkpoints, named);
  EXPECT_LT(place(events, "sync", temporary / "rank_00002.h5"), directory);
  EXPECT_LT(directory, named);
  const size_t latest = place(events, "rename", checkpoints / "LATEST");
  EXPECT_LT(parent, latest) << "LATEST names what is on the disk";
  EXPECT_LT(place(events, "sync", checkpoints / "LATEST.tmp"), latest);
  EXPECT_LT(latest, place(events, "sync", checkpoints, latest));
}

// A directory is on the disk once the one that holds it was synced.
TEST(CheckpointDurable, NewDirectoriesAreSyncedIntoTheirParents) {
  const Directory scratch;
  const fs::path run = scratch.path / "runs/mine";
  const std::vector<Event> events = events_of([&] { save(run, 1); });
  const size_t named = place(events, "rename", run / "checkpoints/step_00000001");
  for (const fs::path& made : {scratch.path / "runs", run, run / "checkpoints"})
    EXPECT_LT(place(events, "sync", made.parent_path(), place(events, "mkdir", made)), named) << made;
}

TEST(CheckpointDurable, SavedAgainIsSyncedBeforeTheExchange) {
  const Directory scratch;
  const fs::path checkpoints = scratch.path / "checkpoints", temporary = checkpoints / ".tmp_step_00000001";
  save(scratch.path, 1);
  const std::vector<Event> events = events_of([&] { save(scratch.path, 1, 2, 0, 5); });
  const size_t named = place(events, "rename", checkpoints / "step_00000001");
  for (const char* name : {"rank_00000.h5", "rank_00001.h5", "index.h5", ""})
    EXPECT_LT(place(events, "sync", *name == 0 ? temporary : temporary / name), named) << name;
  EXPECT_LT(named, place(events, "sync", checkpoints, named));
}

}  // namespace
}  // namespace drover
