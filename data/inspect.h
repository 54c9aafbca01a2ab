// A look at prepared data, for `drover data inspect | verify`.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace drover {

// Counts, document lengths, tokenizer, and the beginning of the first document as text.
std::string inspect_data(const std::filesystem::path& directory);

// Every problem, in words, after reading every byte: checksums, tokens outside the vocabulary, document ends out of order. Empty: sound.
std::vector<std::string> verify_data(const std::filesystem::path& directory);

}  // namespace drover
