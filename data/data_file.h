// A file that is read while training runs, perhaps over a network: a read that fails is tried again, on a file opened anew, before it ends
// the run. It is read with pread and never mapped: an error of a mapping is a SIGBUS, which kills the rank without a word.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>

#include "kernels/base/files.h"

namespace drover {

class DataFile {
 public:
  struct Patience {
    int tries = 8;
    double first_pause = 0.1;  // seconds; each pause is twice the one before: 12.7 s in all
  };
  // Throws Error(data) when it is missing, cannot be opened, or no file descriptor is left for it.
  explicit DataFile(std::filesystem::path path, Patience patience);
  explicit DataFile(std::filesystem::path path) : DataFile(std::move(path), Patience{}) {}

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }          // when it was opened
  int64_t modified() const { return modified_; }  // then; nanoseconds since 1970
  // All of `bytes`. From any thread. Throws Error(data) naming file, offset, host and the system's reason after the last try: a failed
  // read, a file that ends before (one that was cut short after it was opened), one that is gone.
  void read_at(int64_t offset, void* data, size_t bytes) const;

 private:
  std::shared_ptr<const File> file() const;
  std::filesystem::path path_;
  Patience patience_;
  int64_t size_ = 0, modified_ = 0;
  mutable std::unique_ptr<std::mutex> mutex_;
  mutable std::shared_ptr<const File> file_;  // empty after a read that failed
};

}  // namespace drover
