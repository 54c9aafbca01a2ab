// A byte-level BPE tokenizer, as its file defines it: text is normalized, cut into words by patterns, and each word merged (bpe.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizer/bpe.h"

namespace drover {

// What decides ids. The file loaders (tiktoken_file.h, hugging_face_file.h) fill it.
struct BpeDefinition {
  struct Added {
    std::string content;
    int32_t id = -1;
    bool special = false;     // never made from text, only put between documents
    bool normalized = false;  // looked for after normalization; else before
  };
  std::filesystem::path source;
  std::vector<std::string> tokens;    // bytes by id; empty: no such token
  std::vector<BpeMerge> merges;       // by rank
  bool whole_words = false;           // a word that is a token is not merged
  bool form_c = false;                // Unicode's normalization form C comes first
  std::vector<std::string> patterns;  // each cuts what the one before left: matches, and what lies between them, are pieces
  std::vector<Added> added;
  std::vector<VocabularyRange> ranges;  // of added tokens
  std::string begin, end;               // contents of the tokens that begin and end a document; begin may be empty: none
};

// Throws Error(data) for a definition that contradicts itself.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeDefinition& definition);

}  // namespace drover
