#include "tests/file_trace.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <mutex>

namespace drover::testing {
namespace {

struct Trace {
  std::mutex mutex;
  bool on = false;
  std::vector<FileCall> calls;

  void add(FileCall::Kind kind, const std::string& path, const std::string& to = "") {
    const std::lock_guard lock(mutex);
    if (on) calls.push_back({kind, path, to});
  }
};
Trace& trace() {
  static Trace all;
  return all;
}

std::string path_of(int descriptor) {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), unknown);
}

template <class Function> Function next(const char* name) { return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name)); }

struct ReadFailure {
  std::mutex mutex;
  std::string path_ending;
  int error = 0, left = 0, failed = 0;

  // True when the read of this descriptor is to fail.
  bool takes(int descriptor) {
    const std::lock_guard lock(mutex);
    if (left == 0 || !path_of(descriptor).ends_with(path_ending)) return false;
    --left;
    ++failed;
    return true;
  }
};
ReadFailure& read_failure() {
  static ReadFailure all;
  return all;
}

}  // namespace

FileTrace::FileTrace() {
  const std::lock_guard lock(trace().mutex);
  trace().on = true;
  trace().calls.clear();
}
FileTrace::~FileTrace() {
  const std::lock_guard lock(trace().mutex);
  trace().on = false;
}

int FileTrace::first(FileCall::Kind kind, const std::filesystem::path& path) const {
  const std::vector<FileCall>& calls = trace().calls;
  for (size_t i = 0; i < calls.size(); ++i)
    if (calls[i].kind == kind && calls[i].path == path) return static_cast<int>(i);
  ADD_FAILURE() << "no call on " << path;
  return -1;
}

int FileTrace::last(FileCall::Kind kind, const std::filesystem::path& path) const {
  const std::vector<FileCall>& calls = trace().calls;
  for (size_t i = calls.size(); i-- > 0;)
    if (calls[i].kind == kind && calls[i].path == path) return static_cast<int>(i);
  ADD_FAILURE() << "no call on " << path;
  return -1;
}

int FileTrace::renamed_to(const std::filesystem::path& to) const {
  const std::vector<FileCall>& calls = trace().calls;
  for (size_t i = calls.size(); i-- > 0;)
    if (calls[i].kind == FileCall::Kind::rename && calls[i].to == to) return static_cast<int>(i);
  ADD_FAILURE() << "nothing became " << to;
  return -1;
}

void FileTrace::expect_synced(const std::filesystem::path& file, int before) const {
  const int written = last(FileCall::Kind::write, file), synced = last(FileCall::Kind::sync, file);
  EXPECT_LT(written, synced) << file << " was written after it was synced";
  EXPECT_LT(synced, before) << file << " was synced too late";
}

void FileTrace::expect_directory_synced(const std::filesystem::path& directory, int after, int before) const {
  const std::vector<FileCall>& calls = trace().calls;
  const size_t end = before < 0 ? calls.size() : static_cast<size_t>(before);
  for (size_t i = static_cast<size_t>(after) + 1; i < end; ++i)
    if (calls[i].kind == FileCall::Kind::sync && calls[i].path == directory) return;
  ADD_FAILURE() << directory << " was not synced between calls " << after << " and " << end;
}

FailingReads::FailingReads(const std::string& path_ending, int error, int times) {
  const std::lock_guard lock(read_failure().mutex);
  read_failure().path_ending = path_ending;
  read_failure().error = error;
  read_failure().left = times;
  read_failure().failed = 0;
}
FailingReads::~FailingReads() {
  const std::lock_guard lock(read_failure().mutex);
  read_failure().left = 0;
}
int FailingReads::failed() const {
  const std::lock_guard lock(read_failure().mutex);
  return read_failure().failed;
}

}  // namespace drover::testing

using drover::testing::FileCall;

extern "C" {

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto real = drover::testing::next<decltype(&mkdir)>("mkdir");
  drover::testing::trace().add(FileCall::Kind::make, path);
  return real(path, mode);
}
ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t offset) {
  static const auto real = drover::testing::next<decltype(&pwrite)>("pwrite");
  drover::testing::trace().add(FileCall::Kind::write, drover::testing::path_of(descriptor));
  return real(descriptor, data, bytes, offset);
}
ssize_t pread(int descriptor, void* data, size_t bytes, off_t offset) {
  static const auto real = drover::testing::next<decltype(&pread)>("pread");
  if (!drover::testing::read_failure().takes(descriptor)) return real(descriptor, data, bytes, offset);
  errno = drover::testing::read_failure().error;
  return errno == 0 ? 0 : -1;
}
int fsync(int descriptor) {
  static const auto real = drover::testing::next<decltype(&fsync)>("fsync");
  drover::testing::trace().add(FileCall::Kind::sync, drover::testing::path_of(descriptor));
  return real(descriptor);
}
int rename(const char* from, const char* to) noexcept {
  static const auto real = drover::testing::next<decltype(&rename)>("rename");
  const int result = real(from, to);
  if (result == 0) drover::testing::trace().add(FileCall::Kind::rename, from, to);
  return result;
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) noexcept {
  static const auto real = drover::testing::next<decltype(&renameat2)>("renameat2");
  const int result = real(from_directory, from, to_directory, to, flags);
  if (result == 0) drover::testing::trace().add(FileCall::Kind::rename, from, to);
  return result;
}
}
