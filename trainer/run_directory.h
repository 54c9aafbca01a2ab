// The directory of one run: config.yaml, metrics.jsonl, log.txt, checkpoints/, and a lock that keeps a second run out.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "kernels/base/files.h"

namespace drover {

class RunDirectory {
 public:
  // Creates and locks it. Throws Error(storage) when it cannot be written or has less free space than `bytes_needed`, Error(resume) when
  // another run holds the lock.
  RunDirectory(std::filesystem::path path, int64_t bytes_needed);
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  bool holds_run() const;  // something was trained here
  void write_config(const std::string& yaml) const;

 private:
  std::filesystem::path path_;
  std::optional<File> lock_;
};

}  // namespace drover
