#include "data/tokenizer.h"

#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/tokenizer_files.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace drover {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  std::string name() const override { return "bytes"; }
  int64_t vocab() const override { return 258; }
  uint64_t hash() const override { return xxh3("drover bytes 1"); }
  int32_t begin_document() const override { return 256; }
  int32_t end_document() const override { return 257; }
  std::string text(int32_t id) const override {
    return id < 256 ? std::string(1, static_cast<char>(id)) : id == begin_document() ? "<begin>" : "<end>";
  }
  int32_t text_bytes(int32_t id) const override { return id < 256 ? 1 : 0; }
  void encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  }
  std::string decode(const std::vector<int32_t>& tokens) const override {
    std::string text;
    for (const int32_t token : tokens)
      if (token >= 0 && token < 256) text += static_cast<char>(token);
    return text;
  }
};

}  // namespace

const std::vector<VocabularyRange>& Tokenizer::ranges() const {
  static const std::vector<VocabularyRange> none;
  return none;
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  std::filesystem::path path = name;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    for (const char* file : {"tokenizer.json", "tokenizer.model"})
      if (std::filesystem::exists(path / file, ignored)) {
        path /= file;
        break;
      }
  if (!std::filesystem::is_regular_file(path, ignored))
    throw Error(
        ExitCode::config,
        "tokenizer \"" + name + "\": neither \"bytes\" nor a file tokenizer.json or tokenizer.model, nor a directory with one");
  try {
    return make_bpe_tokenizer(path.extension() == ".json" ? read_hugging_face_file(path) : read_tiktoken_file(path));
  } catch (const Error& error) {
    throw Error(ExitCode::data, error.what());  // a file that cannot be read too
  }
}

}  // namespace drover
