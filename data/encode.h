// Documents of a piece of text, and their tokens: each piece on its own, so that pieces are encoded in parallel.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/document_hash.h"
#include "data/text_source.h"
#include "data/tokenizer.h"

namespace drover {

// Records that hold no text: how many, and the first in full, each as "file:line: why".
struct BadRecords {
  static constexpr size_t kInFull = 20;
  int64_t count = 0;
  std::vector<std::string> first;
  void add(std::string what);
  void add(const BadRecords& later);
};

// How texts are taken out of a file.
struct TextRules {
  std::string field = "text";   // of a JSONL record
  std::string column = "text";  // of Parquet
  bool replace_ill_formed = false;
  std::vector<VocabularyRange> ranges = {};  // of the tokenizer: what spans JSONL records may hold
};

// A document's place within a unit, by which its verdict is found again.
inline uint64_t document_key(const TextPlace& place, int64_t line) {
  return static_cast<uint64_t>(place.file) << 40 | static_cast<uint64_t>(line);
}

// Calls `body` with text, line (Parquet: row) of every document of JSONL or Parquet in the piece. Returns the bad records.
BadRecords for_each_document(const TextPiece& piece, const TextRules& rules,
                             const std::function<void(std::string_view text, int64_t line)>& body);

// A piece of plain text, replaced where the rules say so (then it lies in `repaired`). Throws Error(data) naming file:line of ill-formed UTF-8.
std::string_view plain_text(const TextPiece& piece, const TextRules& rules, std::string& repaired);

enum class Part : uint8_t { train, validation };
inline constexpr size_t kParts = 2;

// Which part a document goes to, if any. Pure, so that a document never moves between parts unless its text changes.
struct Assignment {
  std::optional<Part> all;            // every document of the piece: plain text's are longer than it, a tail is cut by bytes
  uint64_t validation_below = 0;      // else validation's are those whose hash's high half is less
  bool drop_all = false;              // plain text that was there before
  std::span<const uint64_t> dropped;  // keys of documents that were there before, ascending
  std::array<bool, kParts> wanted{true, true};  // what is not has its tokens in finished shards already
};

// Each document becomes: begin, its tokens, end. A plain text's document may begin in an earlier piece, and end in a later one.
struct Encoded {
  std::vector<int32_t> tokens;
  std::vector<size_t> ends;  // places in `tokens` after a document's end token, ascending
};
struct EncodedPiece {
  std::array<Encoded, kParts> parts;
  BadRecords bad;
  int64_t duplicates = 0;  // documents dropped
};
EncodedPiece encode(const TextPiece& piece, const TextRules& rules, const Tokenizer& tokenizer, const Assignment& assignment);

}  // namespace drover
