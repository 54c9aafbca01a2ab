// Checksums: XXH3, 64 bits, of files and names; CRC-32C where another program's format asks for it. Not cryptographic.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace drover {

uint64_t xxh3(const void* data, size_t bytes);
inline uint64_t xxh3(std::string_view text) { return xxh3(text.data(), text.size()); }

uint32_t crc32c(const void* data, size_t bytes);  // Castagnoli's polynomial, as in RFC 3720, appendix B.4

class Xxh3Stream {  // the same value as xxh3 over all updates in order
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  void update(const void* data, size_t bytes);
  uint64_t digest() const;
  void reset();  // as if nothing had come yet

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace drover
