// A token shard: a self-describing file of tokens and document ends (docs/data_format.md has the byte layout).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/files.h"
#include "kernels/base/hash.h"

namespace drover {

struct ShardHeader {
  uint32_t width = 2;  // bytes a token: 2 or 4
  uint64_t vocab = 0;
  uint64_t tokenizer_hash = 0;
  std::string tokenizer;  // at most 63 bytes
  uint64_t tokens = 0, documents = 0;
  uint64_t payload_hash = 0;  // XXH3 of the tokens' bytes, then of the document ends'
  uint64_t header_hash = 0;

  static constexpr int64_t kBytes = 256;
  uint64_t ends_offset() const { return static_cast<uint64_t>(kBytes) + (tokens * width + 7) / 8 * 8; }
  uint64_t file_bytes() const { return ends_offset() + 8 * documents; }
};

// Reads and checks the header against the file's size. Throws Error(data) naming file and field.
ShardHeader read_shard_header(std::span<const std::byte> file, const std::filesystem::path& path);

// A mapped shard. Throws Error(data) naming the file and what is wrong with it.
class Shard {
 public:
  explicit Shard(const std::filesystem::path& path);
  const ShardHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return path_; }
  int64_t token(int64_t index) const {
    return header_.width == 2 ? static_cast<const uint16_t*>(tokens_)[index] : static_cast<const uint32_t*>(tokens_)[index];
  }
  // Document ends, ascending: index of the token after the document's last. A document that goes on in the next shard has none here.
  std::span<const uint64_t> ends() const { return ends_; }
  uint64_t compute_payload_hash() const;

 private:
  std::filesystem::path path_;
  MappedFile file_;
  ShardHeader header_;
  const void* tokens_ = nullptr;
  std::span<const uint64_t> ends_;
};

// Writes under a temporary name; finish() syncs and renames. Destroyed before that, it leaves nothing.
class ShardWriter {
 public:
  ShardWriter(std::filesystem::path path, uint32_t width, uint64_t vocab, const std::string& tokenizer, uint64_t tokenizer_hash);
  ~ShardWriter();
  void append(std::span<const int32_t> tokens);
  void end_document() { ends_.push_back(header_.tokens); }
  uint64_t tokens() const { return header_.tokens; }
  void finish();

 private:
  void flush();
  std::filesystem::path path_, temporary_;
  std::optional<File> file_;
  ShardHeader header_;
  std::vector<std::byte> buffer_;
  std::vector<uint64_t> ends_;
  int64_t offset_ = ShardHeader::kBytes;
  Xxh3Stream hash_;
};

// What prepare.json says of a directory. Throws Error(data) when prepare did not finish.
struct PreparedTotals {
  int64_t shards = 0, tokens = 0, documents = 0;
};
PreparedTotals read_totals(const std::filesystem::path& directory);

// The *.tokens files of a directory, by name. Throws Error(data) when there is none, prepare did not finish, or some are missing.
std::vector<std::filesystem::path> list_shards(const std::filesystem::path& directory);

}  // namespace drover
