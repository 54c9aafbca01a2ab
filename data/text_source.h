// Text of input files as a stream of pieces of documents, in constant memory: plain text and JSONL, each also .gz and .zst.
// A file's name says which, in upper or lower case: .jsonl and .ndjson are JSONL, others plain text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace drover {

// Decompressed bytes of one file. Throws Error(data) naming the file when it is missing or its compression is damaged.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual size_t read(char* buffer, size_t bytes) = 0;  // 0 at the end
  static std::unique_ptr<ByteSource> open(const std::filesystem::path& path);
};

// A part of one file, to be tokenized on its own: plain text, or whole JSONL lines.
struct TextPiece {
  std::filesystem::path path;
  std::string text;
  bool jsonl = false;
  int64_t first_line = 1;        // of the file, for messages
  bool begins_document = false;  // plain text: the file's first piece
  bool ends_document = false;    // and its last
};

// Cuts files into pieces of about 1 MiB, at line breaks where there are any.
class TextReader {
 public:
  // Throws Error(data) for a .json or .parquet: as plain text, the model would learn the format's bytes.
  explicit TextReader(std::vector<std::filesystem::path> inputs);
  ~TextReader();
  bool next(TextPiece& piece);              // false at the end of the last file
  int64_t bytes() const { return bytes_; }  // of text so far

 private:
  bool open_next();
  std::vector<std::filesystem::path> inputs_;
  size_t input_ = 0;
  std::unique_ptr<ByteSource> source_;
  std::string rest_;  // read, but not given out
  int64_t line_ = 1, bytes_ = 0;
  bool first_piece_ = true;
};

bool is_jsonl(const std::filesystem::path& path);

}  // namespace drover
