// UTF-8 as chapter 3.9 of the Unicode Standard (version 16.0, table 3-7) has it: the check, the repair, and the places where text may be
// cut without a tokenizer noticing.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace drover {

// Bytes of the longest beginning that is well-formed: text.size() where all of it is.
size_t well_formed_utf8(std::string_view text);

// Each maximal subpart of an ill-formed sequence becomes one U+FFFD (table 3-8), as in Python's bytes.decode("utf-8", "replace").
std::string replace_ill_formed_utf8(std::string_view text);

// True where the characters before and behind `at` are never in one word of a byte-level BPE tokenizer: the ids of the two halves, one after
// the other, are those of the whole, because the patterns that such tokenizers split text by (GPT-2's, cl100k's, o200k's, those of Llama 3,
// Qwen, DeepSeek and StarCoder) begin a match there and look ahead only. It is
//   - before a space behind a character that is no White_Space, and
//   - after a line feed between two characters that are no White_Space, the second no '/' (o200k takes "!\n/" as one).
// Not simply after any line feed: GPT-2's \s+(?!\S) splits "\n\nx" otherwise than "\n\n" and "x".
// `text` reaches 3 bytes beyond `at`, or to the document's end.
bool may_cut(std::string_view text, size_t at);

// Bytes of the White_Space character (Unicode's property) that `text` begins or ends with; 0: it is none.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);

}  // namespace drover
