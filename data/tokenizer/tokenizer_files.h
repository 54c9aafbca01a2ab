// Files that define byte-level BPE tokenizers. What they say that this program does not do is refused by name, never approximated.
#pragma once
#include <filesystem>

#include "data/tokenizer/bpe_tokenizer.h"

namespace drover {

// `tokenizer.model` as tiktoken writes it: lines of base64 bytes and rank. It holds neither pattern nor special tokens: they are those of
// Llama 3 for 128,000 lines and of Llama 4 for 200,000. Throws Error(data) naming file and line.
BpeDefinition read_tiktoken_file(const std::filesystem::path& path);

// `tokenizer.json` of the library `tokenizers`: model BPE over bytes, with its normalizer, pre-tokenizers and added tokens.
// Throws Error(data) naming file, field and what is not supported.
BpeDefinition read_hugging_face_file(const std::filesystem::path& path);

// That file's text with a range more (VocabularyRange) behind the vocabulary: special tokens that `tokenizers` reads as well. Throws Error(config)
// for a name or a form of file that cannot be, and as above.
std::string with_range(const std::filesystem::path& path, const std::string& name, int64_t size);

}  // namespace drover
