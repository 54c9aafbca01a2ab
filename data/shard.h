// A token shard: a self-describing file of tokens and document ends (docs/data_format.md has the byte layout).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/data_file.h"
#include "data/document_ends.h"
#include "kernels/base/files.h"
#include "kernels/base/hash.h"

namespace drover {

// Tokens that lie in a file of another program's making: what `drover import-tokens --in-place` found.
struct ForeignTokens {
  std::filesystem::path path;  // absolute
  uint64_t offset = 0;         // bytes before the first token
  uint64_t bytes = 0;          // of the whole file
  int64_t modified = 0;        // nanoseconds since 1970
};

struct ShardHeader {
  uint32_t width = 2;  // bytes a token: 2 or 4
  uint64_t vocab = 0;
  uint64_t tokenizer_hash = 0;
  std::string tokenizer;  // at most 63 bytes
  uint64_t tokens = 0, documents = 0;
  uint64_t payload_hash = 0;  // XXH3 of the tokens' bytes, then of the document ends'
  uint64_t header_hash = 0;
  std::optional<ForeignTokens> foreign;  // where the tokens are, when not here

  static constexpr int64_t kBytes = 256;
  uint64_t ends_offset() const {
    const uint64_t before_ends = foreign ? foreign->path.native().size() : tokens * width;
    return static_cast<uint64_t>(kBytes) + (before_ends + 7) / 8 * 8;
  }
  uint64_t file_bytes() const { return ends_offset() + 8 * documents; }
};

// Reads and checks the header against the file's size. Throws Error(data) naming file and field.
ShardHeader read_shard_header(const DataFile& file);

// A shard that is read piece by piece, from any thread. Everything throws Error(data) naming the file and what is wrong with it.
class Shard {
 public:
  // Opens the file that holds the tokens too, where they are elsewhere, and refuses one that has changed.
  explicit Shard(const std::filesystem::path& path);
  const ShardHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& tokens_path() const { return tokens_file().path(); }  // path(), or the foreign file's
  // The bytes of tokens [first, first + bytes / width). REQUIRES: they are there, bytes is a multiple of the width.
  void read(int64_t first, std::span<std::byte> bytes) const;
  // The same as numbers; of 4 bytes, one of 2^31 or more is negative.
  void read(int64_t first, std::span<int32_t> tokens) const;
  int64_t token(int64_t index) const;  // one; a read of its own
  // Document ends, ascending: index of the token after the document's last. A document that goes on in the next shard has none here.
  std::vector<uint64_t> ends() const { return ends_.read(0, ends_.count()); }
  const DocumentEnds& document_ends() const { return ends_; }
  // Reads everything. `after_block` is told of each block of at most `block` bytes that was read; false ends it, and the result is nothing.
  std::optional<uint64_t> compute_payload_hash(size_t block, const std::function<bool(size_t)>& after_block) const;
  uint64_t compute_payload_hash() const;

 private:
  const DataFile& tokens_file() const { return foreign_ ? *foreign_ : *file_; }
  std::filesystem::path path_;
  std::unique_ptr<DataFile> file_;
  ShardHeader header_;
  std::unique_ptr<DataFile> foreign_;
  int64_t tokens_offset_ = ShardHeader::kBytes;
  DocumentEnds ends_;
};

// Writes a shard that refers to tokens elsewhere, durably. `header`: all but the hash of the header; `foreign` is set.
void write_reference(const std::filesystem::path& path, const ShardHeader& header, std::span<const uint64_t> ends);

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
