// A file that grows under a temporary name until it is whole.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "kernels/base/files.h"

namespace drover {

class NewFile {
 public:
  explicit NewFile(std::filesystem::path path);  // throws Error(data) when `path` is there already
  ~NewFile();                                    // before finish(): nothing is left
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  void append(std::span<const std::byte> bytes);
  void rewrite(std::span<const std::byte> begin);  // of what was appended
  void finish();                                   // syncs and renames

 private:
  std::filesystem::path path_, temporary_;
  std::optional<File> file_;
  int64_t bytes_ = 0;
};

}  // namespace drover
