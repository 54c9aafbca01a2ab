// Text to tokens and back. The byte tokenizer is built in; byte-level BPE tokenizers come from files (data/tokenizer/).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace drover {

// Ids of another modality, codes of a discrete codec, and the special tokens around a span of them: <|begin_NAME|>, <|NAME:0|> and so on,
// <|end_NAME|>.
struct VocabularyRange {
  std::string name;
  int32_t first = 0, size = 0;
  int32_t begin = 0, end = 0;
  bool contains(int32_t id) const { return id >= first && id - first < size; }
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;
  virtual int64_t vocab() const = 0;
  virtual uint64_t hash() const = 0;           // of everything that decides ids
  virtual int32_t begin_document() const = 0;  // -1: it has none
  virtual int32_t end_document() const = 0;
  virtual std::string text(
      int32_t id) const = 0;  // what an id stands for, special tokens by their names; REQUIRES: 0 <= id < vocab()
  // Bytes of text that an id stands for; 0 for special tokens, which no text has. What bits per byte count. REQUIRES: as above.
  virtual int32_t text_bytes(int32_t id) const = 0;
  virtual const std::vector<VocabularyRange>& ranges() const;  // none, unless the file has some
  // A text's ids are those of its halves, one after the other, where may_cut (data/utf8.h) cuts it, for every text; false where that is not known.
  virtual bool splits_at_cuts() const { return true; }
  virtual std::string description() const { return ""; }       // how it works, in lines for people
  virtual std::filesystem::path source() const { return {}; }  // the file that defines it; empty: built in
  // Appends, with no begin or end. Ids of begin, end and other special tokens never come from text. Any thread.
  virtual void encode(std::string_view text, std::vector<int32_t>& tokens) const = 0;
  virtual std::string decode(const std::vector<int32_t>& tokens) const = 0;  // begin and end decode to nothing
};

// "bytes": ids 0..255 are the bytes, 256 begins a document, 257 ends it; vocabulary 258. Other names are files: *.json of the library
// `tokenizers`, *.model of tiktoken, or a directory with one of them. Throws Error(config) for what is neither, Error(data) for what a file says that is
// not supported.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

}  // namespace drover
