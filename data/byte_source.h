// The bytes of an input file, decompressed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace drover {

// Throws Error(data) naming the file when it is missing or its compression is damaged.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual size_t read(char* buffer, size_t bytes) = 0;  // 0 at the end
  virtual int64_t position() const = 0;                 // bytes of the file itself so far
  // A name's .gz or .zst, in upper or lower case, says how it is compressed; "-" is standard input, which may be gzip's.
  static std::unique_ptr<ByteSource> open(const std::filesystem::path& path);
};

}  // namespace drover
