#include "tests/file_trace.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

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
