// Spans of other modalities (pictures, sound), codes of a discrete codec, within documents. While it is read, hashed and passed on, a document is
// bytes: text, and for each span byte 0xFF, the range's name, byte 0xFE, the codes in decimal with spaces between them, and byte 0xFF. No UTF-8
// text has these bytes.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace drover {

const VocabularyRange* find_range(const std::vector<VocabularyRange>& ranges, std::string_view name);  // null: there is none
std::string names_of(const std::vector<VocabularyRange>& ranges);                                      // "image, sound", or "none"

// Appends a span to a document. "" or what is wrong with it: a name that no range has, or a code outside it.
std::string append_span(std::string& document, std::string_view name, std::span<const int64_t> codes,
                        const std::vector<VocabularyRange>& ranges);

// Appends the ids of a document: its text's, and of each span begin, its codes from the range's first id on, end.
void encode_document(const Tokenizer& tokenizer, std::string_view document, std::vector<int32_t>& tokens);

}  // namespace drover
