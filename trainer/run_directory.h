// The directory of one run, file by file in docs/run_directory.md, and the lock that keeps a second run out.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "configs/config.h"
#include "kernels/base/files.h"

namespace drover {

class RunDirectory {
 public:
  // Creates and locks it. Throws Error(storage) when it cannot be written or has less free space than `bytes_needed`, Error(resume) when
  // another run holds the lock.
  RunDirectory(std::filesystem::path path, int64_t bytes_needed);
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::string config() const;  // as the last start wrote it; "" when there was none
  bool holds_run() const;      // something was trained here: a run that ended before its first step holds nothing
  void write_config(const std::string& yaml) const;
  void write_products(const std::string& json) const;  // of this start; "": there are none, and no such file

 private:
  std::filesystem::path path_;
  std::optional<File> lock_;
};

// Without a lock of one's own, for looking at runs. Throws Error(resume) when `path` holds no run.
void require_run(const std::filesystem::path& path);
Config config_of_run(
    const std::filesystem::path& path);          // of its last start; Error(resume), too, when damaged or of another version
bool in_use(const std::filesystem::path& path);  // some process trains here

}  // namespace drover
