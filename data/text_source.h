// Text of input files as a stream of pieces of documents, in constant memory.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/byte_source.h"
#include "data/inputs.h"
#include "data/parquet_source.h"

namespace drover {

// Where a piece begins. A reader that starts there gives the same pieces as one that came by.
struct TextPlace {
  int64_t file = 0;                          // of the reader's inputs
  int64_t offset = 0;                        // bytes of the decompressed file before it; Parquet: rows
  int64_t line = 1;                          // of the file; Parquet: row, from 1
  int64_t bytes = 0;                         // of text before it, of all files
  int order(const TextPlace& other) const {  // below 0: before it; 0: the same place
    if (file != other.file) return file < other.file ? -1 : 1;
    return offset < other.offset ? -1 : offset > other.offset ? 1 : 0;
  }
};

// A part of one file, to be tokenized on its own: of plain text cut where may_cut (data/utf8.h) allows it, whole JSONL lines, or rows.
struct TextPiece {
  std::filesystem::path path;
  InputFormat format = InputFormat::text;
  std::string text;
  TextPlace place;
  std::vector<size_t> row_ends;   // Parquet: places in `text`
  std::vector<bool> row_is_null;  // Parquet
  bool begins_document = false;   // plain text: the file's first piece
  bool ends_document = false;     // and its last
};

struct TextLimits {
  size_t piece = size_t{1} << 20;     // about so many bytes a piece
  size_t stretch = size_t{64} << 20;  // of plain text without a place to cut
  size_t line = size_t{256} << 20;    // of JSONL
  bool cuts = true;                   // false: plain text is not cut, for tokenizers that would notice (Tokenizer::splits_at_cuts)
};

// Cuts files into pieces. Throws Error(data) for plain text and lines beyond the limits.
class TextReader {
 public:
  // `column`: of a Parquet file. `from`: a place of an earlier reader over the same inputs.
  explicit TextReader(std::vector<Input> inputs, std::string column = "text", const TextPlace& from = {},
                      const TextLimits& limits = {});
  ~TextReader();
  bool next(TextPiece& piece);                    // false at the end of the last file
  int64_t bytes() const { return place_.bytes; }  // of text so far
  int64_t position() const;                       // bytes of the files themselves so far, compressed as they are

 private:
  void open();
  void skip(int64_t bytes);
  bool fill(size_t bytes);  // false at the end of the file
  size_t find_cut();
  void read_rows(TextPiece& piece);
  const Input& input() const { return inputs_[static_cast<size_t>(place_.file)]; }

  std::vector<Input> inputs_;
  std::string column_;
  TextLimits limits_;
  TextPlace place_;  // of the next piece
  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<ParquetSource> rows_;
  std::string rest_;  // read, but not given out, from rest_begin_ on
  size_t rest_begin_ = 0;
  bool at_end_ = false;       // of the file: rest_ is all that is left
  int64_t files_before_ = 0;  // bytes of the files before this one
};

}  // namespace drover
