// Tokenizers' files, patterns of words, and any text through a tokenizer. Input: one byte that chooses which; the rest is the file, a pattern and
// (after a zero) a text, or a text.
#include <algorithm>

#include "data/tokenizer.h"
#include "data/tokenizer/known_patterns.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/train.h"
#include "tests/fuzz/fuzz.h"

namespace drover::fuzz {
namespace {

void require_inverse(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  for (const int32_t id : ids) {
    require(id >= 0 && id < tokenizer.vocab(), "an id beyond the vocabulary");
    require(id != tokenizer.begin_document() && id != tokenizer.end_document(), "a special token out of text");
  }
  require(tokenizer.decode(ids) == text, "decoding does not give the text back");
}

void run_file(const std::string& name, const std::string& bytes, const Scratch& scratch) {
  scratch.write(name, bytes);
  accepted(ExitCode::data, [&] {
    const auto tokenizer = make_tokenizer(scratch.path / name);
    std::vector<int32_t> ids;
    tokenizer->encode("The caf\u00E9's 123 e\u0301 \n\n<|endoftext|>", ids);
    require(!ids.empty(), "no ids");
  });
}

void run_pattern(const std::string& bytes) {
  const size_t zero = std::min(bytes.find('\0'), bytes.size());
  const std::string text = zero < bytes.size() ? bytes.substr(zero + 1) : "a text's 12 \u00E9\u4E2D\n";
  if (zero > 200) return;  // states grow with the pattern
  accepted(ExitCode::data, [&] {
    const Pattern pattern(bytes.substr(0, zero));
    for (size_t at = 0; at < text.size(); ++at)
      require(pattern.match(text.data() + at, text.data() + text.size()) <= text.size() - at, "a match beyond the text");
  });
}

// A small vocabulary, trained here.
std::unique_ptr<Tokenizer> small_tokenizer(const Scratch& scratch) {
  WordCounts words;
  for (const char* word : {" the", " cat", " hat", "caf\u00E9", "\n\n", "123", " \u4E2D\u6587", "'s"}) words.add(word, 3);
  const BpeTraining training{.vocab = 290, .special = {"<|begin_of_text|>", "<|end_of_text|>"}};
  scratch.write("small.json", tokenizer_json(train_bpe(words, training, {}), training, kLlama3Pattern));
  return make_tokenizer(scratch.path / "small.json");
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const drover::fuzz::Scratch scratch;
  static const auto small = drover::fuzz::small_tokenizer(scratch);
  if (size == 0) return 0;
  const std::string bytes(data + 1, data + size);
  switch (data[0] % 4) {
    case 0: drover::fuzz::run_file("tokenizer.json", bytes, scratch); break;
    case 1: drover::fuzz::run_file("tokenizer.model", bytes, scratch); break;
    case 2: drover::fuzz::run_pattern(bytes); break;
    default: drover::fuzz::require_inverse(*small, bytes); ++drover::fuzz::accepted_inputs;
  }
  return 0;
}
