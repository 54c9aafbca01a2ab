#include "kernels/base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/host.h"

namespace drover {

namespace {

[[noreturn]] void fail(const char* operation, const std::filesystem::path& path, int error) {
  throw Error(ExitCode::storage, std::string("cannot ") + operation + " " + path.string() + ": " + std::strerror(error));
}

int open_or_fail(const char* operation, const std::filesystem::path& path, int flags) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) fail(operation, path, errno);
  return descriptor;
}

}  // namespace

File::File(int descriptor, std::filesystem::path path) : descriptor_(descriptor), path_(std::move(path)) {}

File File::open_read(const std::filesystem::path& path) { return {open_or_fail("open", path, O_RDONLY), path}; }

File File::create(const std::filesystem::path& path) { return {open_or_fail("create", path, O_RDWR | O_CREAT | O_TRUNC), path}; }

File::File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void File::allocate(int64_t bytes) {
  if (bytes == 0) return;
  int error = 0;
  do {
    error = ::posix_fallocate(descriptor_, 0, bytes);
  } while (error == EINTR);
  if (error != 0) fail(("allocate " + std::to_string(bytes) + " bytes for").c_str(), path_, error);
}

void File::write_at(int64_t offset, const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::pwrite(descriptor_, from, bytes, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write", path_, written < 0 ? errno : EIO);
    from += written;
    offset += written;
    bytes -= static_cast<size_t>(written);
  }
}

void File::read_at(int64_t offset, void* data, size_t bytes) const {
  char* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, to, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_, errno);
    if (got == 0)
      throw Error(ExitCode::storage, "cannot read " + path_.string() + ": it ends at byte " + std::to_string(offset) + ", " +
                                         std::to_string(bytes) + " more were expected");
    to += got;
    offset += got;
    bytes -= static_cast<size_t>(got);
  }
}

void File::sync() {
  int result = 0;
  do {
    result = ::fsync(descriptor_);
  } while (result != 0 && errno == EINTR);
  if (result != 0) fail("sync", path_, errno);
}

int64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("stat", path_, errno);
  return status.st_size;
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? std::filesystem::path(".") : directory;
  const int descriptor = open_or_fail("open directory", path, O_RDONLY | O_DIRECTORY);
  int result = 0;
  do {
    result = ::fsync(descriptor);
  } while (result != 0 && errno == EINTR);
  const int error = errno;
  ::close(descriptor);
  // EINVAL: a file system without such a call for directories, where rename is as durable as it gets.
  if (result != 0 && error != EINVAL) fail("sync directory", path, error);
}

void make_directories(const std::filesystem::path& directory) {
  std::error_code ignored;
  if (directory.empty() || std::filesystem::is_directory(directory, ignored)) return;
  const std::filesystem::path parent = directory.has_filename() ? directory.parent_path() : directory.parent_path().parent_path();
  make_directories(parent);
  if (::mkdir(directory.c_str(), 0777) != 0 && (errno != EEXIST || !std::filesystem::is_directory(directory, ignored)))
    fail("make directory", directory, errno);
  sync_directory(parent);
}

void write_durably(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  try {
    File file = File::create(temporary);
    file.write_at(0, content.data(), content.size());
    file.sync();
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail("rename to", path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(path.parent_path());
}

std::string read_text(const std::filesystem::path& path) {
  const File file = File::open_read(path);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, text.data(), text.size());
  return text;
}

std::optional<File> lock_file(const std::filesystem::path& path) {
  File file = File::adopt(open_or_fail("open", path, O_RDWR | O_CREAT), path);
  if (::flock(file.descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    fail("lock", path, errno);
  }
  const std::string holder = "process " + std::to_string(::getpid()) + " on " + host_name();
  if (::ftruncate(file.descriptor(), 0) != 0) fail("truncate", path, errno);
  file.write_at(0, holder.data(), holder.size());
  return file;
}

int64_t free_space(const std::filesystem::path& directory) {
  struct statvfs status {};
  if (statvfs(directory.c_str(), &status) != 0) return -1;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const File file = File::open_read(path);
  size_ = static_cast<size_t>(file.size());
  if (size_ == 0) return;
  void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (memory == MAP_FAILED) fail("map", path, errno);
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace drover
