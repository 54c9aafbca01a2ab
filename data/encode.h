// Tokens of pieces of text, each piece on its own, so that pieces are encoded in parallel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/text_source.h"
#include "data/tokenizer.h"

namespace drover {

// Each document becomes: begin, its tokens, end. A plain text's document may begin in an earlier piece, and end in a later one.
struct Encoded {
  std::vector<int32_t> tokens;
  std::vector<size_t> ends;  // places in `tokens` after a document's end token, ascending
};

// `field`: of a JSONL record, holds the text. Throws Error(data) naming file:line for a record that is no JSON object or whose field is missing or no string.
Encoded encode(const TextPiece& piece, const std::string& field, const Tokenizer& tokenizer);

}  // namespace drover
