// Text to tokens and back. The byte tokenizer is built in; BPE tokenizers implement the same interface.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace drover {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;
  virtual int64_t vocab() const = 0;
  virtual uint64_t hash() const = 0;  // of everything that decides ids
  virtual int32_t begin_document() const = 0;
  virtual int32_t end_document() const = 0;
  virtual void encode(std::string_view text, std::vector<int32_t>& tokens) const = 0;  // appends; no begin or end added
  virtual std::string decode(const std::vector<int32_t>& tokens) const = 0;            // begin and end decode to nothing
};

std::vector<std::string> tokenizer_names();
// "bytes": ids 0..255 are the bytes, 256 begins a document, 257 ends it; vocabulary 258. Throws Error(data) for another name.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

}  // namespace drover
