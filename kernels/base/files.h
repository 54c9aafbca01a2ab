// Durable files: what is published is complete on disk, or not there. Every failure is Error(storage) that names the path, the
// operation and the system's reason ("No space left on device").
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace drover {

// A file descriptor that closes itself.
class File {
 public:
  static File open_read(const std::filesystem::path& path);
  static File create(const std::filesystem::path& path);  // truncates; mode 0644
  static File adopt(int descriptor, const std::filesystem::path& path) {
    return {descriptor, path};
  }  // takes over an open descriptor
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();
  void allocate(int64_t bytes);                                   // posix_fallocate
  void write_at(int64_t offset, const void* data, size_t bytes);  // pwrite, all of it
  void read_at(int64_t offset, void* data, size_t bytes) const;   // pread, all of it; a short file is an error
  void sync();                                                    // fsync
  int64_t size() const;
  int descriptor() const { return descriptor_; }

 private:
  File(int descriptor, std::filesystem::path path);
  int descriptor_ = -1;
  std::filesystem::path path_;
};

void sync_directory(const std::filesystem::path& directory);
// Makes what is missing of a path of directories, each synced into its parent.
void make_directories(const std::filesystem::path& directory);
// Write `path` + ".tmp", fsync, rename over `path`, fsync the directory.
void write_durably(const std::filesystem::path& path, std::string_view content);
std::string read_text(const std::filesystem::path& path);
// Locks the file `path`, made when it is missing, and writes into it who holds it: "process 12 on host". Nothing when somebody else does.
// The lock is given back with the File, and by the system when the process ends; the file stays.
std::optional<File> lock_file(const std::filesystem::path& path);
// Bytes that a process without privileges may still write there; -1 where the system does not tell.
int64_t free_space(const std::filesystem::path& directory);

// A read-only mapping of a whole file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace drover
