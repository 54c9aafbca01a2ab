// Text and JSONL into tokens. Input: one byte that chooses the name, and so the format; the rest is the file.
#include <algorithm>

#include "data/encode.h"
#include "tests/fuzz/fuzz.h"

namespace drover::fuzz {
namespace {

constexpr const char* kNames[] = {"a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.txt", "a.txt.gz", "a.txt.zst"};

// Bytes, and a range of eight codes.
class BytesAndCodes : public Tokenizer {
 public:
  std::string name() const override { return "bytes and codes"; }
  int64_t vocab() const override { return bytes_->vocab() + 10; }
  uint64_t hash() const override { return 0; }
  int32_t begin_document() const override { return bytes_->begin_document(); }
  int32_t end_document() const override { return bytes_->end_document(); }
  std::string text(int32_t id) const override { return id < bytes_->vocab() ? bytes_->text(id) : "code"; }
  int32_t text_bytes(int32_t id) const override { return id < bytes_->vocab() ? bytes_->text_bytes(id) : 0; }
  const std::vector<VocabularyRange>& ranges() const override { return ranges_; }
  void encode(std::string_view text, std::vector<int32_t>& tokens) const override { bytes_->encode(text, tokens); }
  std::string decode(const std::vector<int32_t>& tokens) const override { return bytes_->decode(tokens); }

 private:
  std::unique_ptr<Tokenizer> bytes_ = make_tokenizer("bytes");
  std::vector<VocabularyRange> ranges_{{.name = "image", .first = 260, .size = 8, .begin = 258, .end = 259}};
};

// Pieces join into whole documents: begin, anything else, end.
class Documents {
 public:
  void add(const Encoded& piece, const Tokenizer& tokenizer) {
    size_t begin = 0;
    for (const size_t end : piece.ends) {
      require(end > begin && end <= piece.tokens.size(), "document ends out of order");
      read(piece, begin, end, tokenizer);
      require(piece.tokens[end - 1] == tokenizer.end_document(), "a document without an end");
      open_ = false;
      begin = end;
    }
    if (begin < piece.tokens.size()) read(piece, begin, piece.tokens.size(), tokenizer);
  }
  bool open() const { return open_; }

 private:
  void read(const Encoded& piece, size_t begin, size_t end, const Tokenizer& tokenizer) {
    const auto first = piece.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
               last = piece.tokens.begin() + static_cast<std::ptrdiff_t>(end);
    require(std::count(first, last, tokenizer.begin_document()) == (open_ ? 0 : 1), "not one begin in a document");
    require(open_ || *first == tokenizer.begin_document(), "a document that does not begin");
    open_ = true;
    bool within = false;
    for (auto id = first; id != last; ++id) {
      require(*id >= 0 && *id < tokenizer.vocab(), "an id outside the vocabulary");
      require(within == (tokenizer.ranges()[0].contains(*id) || *id == tokenizer.ranges()[0].end),
              "a code outside a span, or text in one");
      within = *id == tokenizer.ranges()[0].begin || (within && *id != tokenizer.ranges()[0].end);
    }
    require(!within, "a span without an end");
  }
  bool open_ = false;
};

void run(const std::string& name, const std::string& bytes, const Scratch& scratch) {
  scratch.write(name, bytes);
  const BytesAndCodes tokenizer;
  TextRules rules;
  rules.ranges = tokenizer.ranges();
  accepted(ExitCode::data, [&] {
    TextReader reader(find_inputs({{scratch.path / name}, ""}));
    TextPiece piece;
    Documents documents;
    std::string text;
    int64_t line = 1;
    while (reader.next(piece)) {
      require(piece.place.line == line && piece.place.bytes == static_cast<int64_t>(text.size()), "a wrong place");
      line += std::count(piece.text.begin(), piece.text.end(), '\n');
      text += piece.text;
      documents.add(encode(piece, rules, tokenizer, {}).parts[0], tokenizer);
    }
    require(reader.bytes() == static_cast<int64_t>(text.size()), "a wrong count of bytes");
    require(name != "a.txt" || text == bytes || bytes.starts_with("\x1f\x8b"), "plain text was changed");
    require(!documents.open(), "a document is still open at the end");
  });
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const drover::fuzz::Scratch scratch;
  if (size > 0)
    drover::fuzz::run(drover::fuzz::kNames[data[0] % std::size(drover::fuzz::kNames)], {data + 1, data + size}, scratch);
  return 0;
}
