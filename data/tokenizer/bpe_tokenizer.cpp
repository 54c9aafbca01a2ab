#include "data/tokenizer/bpe_tokenizer.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>

#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/normalize.h"
#include "data/tokenizer/splitter.h"
#include "data/tokenizer/word_encoder.h"
#include "data/utf8.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace drover {
namespace {

struct OfAThread {
  WordEncoder words;
  std::string normalized;
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(const BpeDefinition& definition)
      : source_(definition.source), texts_(texts_of(definition)), text_bytes_(text_bytes_of(definition, texts_)),
        model_(vocabulary_of(definition), definition.merges, definition.whole_words), splitter_(definition.patterns),
        before_(added_of(definition, false)), after_(added_of(definition, true)), ranges_(definition.ranges),
        begin_(id_of(definition, definition.begin)), end_(id_of(definition, definition.end)),
        splits_at_cuts_(splitter_.splits_at_cuts() && !added_are_cut(definition)), hash_(hash_of(definition)),
        description_(describe(definition)) {
    if (definition.form_c) form_c_.emplace();
  }

  std::string name() const override { return fmt::format("bpe-{}-{:08x}", vocab(), hash_ >> 32); }
  int64_t vocab() const override { return static_cast<int64_t>(texts_.size()); }
  uint64_t hash() const override { return hash_; }
  int32_t begin_document() const override { return begin_; }
  int32_t end_document() const override { return end_; }
  std::string text(int32_t id) const override { return texts_[static_cast<size_t>(id)]; }
  int32_t text_bytes(int32_t id) const override { return text_bytes_[static_cast<size_t>(id)]; }
  const std::vector<VocabularyRange>& ranges() const override { return ranges_; }
  bool splits_at_cuts() const override { return splits_at_cuts_; }
  std::string description() const override { return description_; }
  std::filesystem::path source() const override { return source_; }

  void encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    std::unique_ptr<OfAThread> mine = borrow();
    const auto put = [&](int32_t id) { tokens.push_back(id); };
    before_.cut(
        text,
        [&](std::string_view raw) {
          const std::string_view part = form_c_ ? form_c_->normalize(raw, mine->normalized) : raw;
          after_.cut(
              part, [&](std::string_view plain) { encode_plain(plain, mine->words, tokens); }, put);
        },
        put);
    give_back(std::move(mine));
  }

  std::string decode(const std::vector<int32_t>& tokens) const override {
    std::string text;
    for (const int32_t token : tokens)
      if (token >= 0 && token < vocab() && token != begin_ && token != end_) text += texts_[static_cast<size_t>(token)];
    return text;
  }

 private:
  void encode_plain(std::string_view text, WordEncoder& words, std::vector<int32_t>& tokens) const {
    const char* end = text.data() + text.size();
    splitter_.split(text, [&](std::string_view word) { words.add(model_, word, end, tokens); });
    words.finish(model_, tokens);
  }

  // As many as threads that encode.
  std::unique_ptr<OfAThread> borrow() const {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<OfAThread>();
    auto mine = std::move(idle_.back());
    idle_.pop_back();
    return mine;
  }
  void give_back(std::unique_ptr<OfAThread> mine) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(mine));
  }

  // What each id stands for, added tokens' contents among them.
  static std::vector<std::string> texts_of(const BpeDefinition& definition) {
    std::vector<std::string> texts = definition.tokens;
    for (const auto& added : definition.added) {
      const auto id = static_cast<size_t>(added.id);
      if (id >= texts.size()) texts.resize(id + 1);
      texts[id] = added.content;
    }
    return texts;
  }
  static std::vector<int32_t> text_bytes_of(const BpeDefinition& definition, const std::vector<std::string>& texts) {
    std::vector<int32_t> bytes;
    bytes.reserve(texts.size());
    for (const auto& text : texts) bytes.push_back(static_cast<int32_t>(text.size()));
    for (const auto& added : definition.added)
      if (added.special) bytes[static_cast<size_t>(added.id)] = 0;
    return bytes;
  }
  // What words are made of: no special token.
  static std::vector<std::string> vocabulary_of(const BpeDefinition& definition) {
    std::vector<std::string> tokens = definition.tokens;
    for (const auto& added : definition.added)
      if (added.special && static_cast<size_t>(added.id) < tokens.size()) tokens[static_cast<size_t>(added.id)].clear();
    return tokens;
  }
  static std::vector<AddedTokens::Token> added_of(const BpeDefinition& definition, bool normalized) {
    std::vector<AddedTokens::Token> tokens;
    for (const auto& added : definition.added)
      if (added.normalized == normalized) tokens.push_back({added.content, added.id, added.special});
    return tokens;
  }
  // A text may be cut within an added token.
  static bool added_are_cut(const BpeDefinition& definition) {
    for (const auto& added : definition.added)
      for (size_t at = 1; at < added.content.size(); ++at)
        if (may_cut(added.content, at) || (at == 1 && may_cut("." + added.content, 2))) return true;
    return false;
  }
  static int32_t id_of(const BpeDefinition& definition, const std::string& content) {
    if (content.empty()) return -1;
    for (const auto& added : definition.added)
      if (added.content == content) return added.id;
    throw Error(ExitCode::data, fmt::format("{}: no added token \"{}\"", definition.source.string(), content));
  }
  static std::string describe(const BpeDefinition& definition) {
    int special = 0;
    for (const auto& added : definition.added) special += added.special ? 1 : 0;
    std::string text =
        fmt::format("merges      {}{}\nadded       {} special tokens, {} that are found in text\n", definition.merges.size(),
                    definition.whole_words ? ", but a word that is a token is not merged" : "", special,
                    static_cast<int>(definition.added.size()) - special);
    if (definition.form_c) text += "normalizes  to Unicode's form C\n";
    for (const auto& range : definition.ranges)
      text += fmt::format("range       {}: {} codes, ids {} to {}, between {} and {}\n", range.name, range.size, range.first,
                          range.first + range.size - 1, range.begin, range.end);
    for (const auto& pattern : definition.patterns) text += fmt::format("words by    {}\n", pattern);
    return text.substr(0, text.size() - 1);
  }
  uint64_t hash_of(const BpeDefinition& definition) const {
    Xxh3Stream hash;
    const auto add = [&hash](std::string_view text) {
      const uint64_t size = text.size();
      hash.update(&size, sizeof size);
      hash.update(text.data(), text.size());
    };
    add("drover bpe 1");
    for (const auto& text : texts_) add(text);
    for (const auto& merge : definition.merges) {
      const int32_t ids[] = {merge.left, merge.right, merge.merged};
      hash.update(ids, sizeof ids);
    }
    for (const auto& pattern : definition.patterns) add(pattern);
    for (const auto& added : definition.added)
      add(fmt::format("{} {} {} {}", added.id, added.special, added.normalized, added.content));
    add(fmt::format("{} {} {} {}", definition.whole_words, definition.form_c, definition.begin, definition.end));
    return hash.digest();
  }

  std::filesystem::path source_;
  std::vector<std::string> texts_;   // by id
  std::vector<int32_t> text_bytes_;  // by id
  BpeModel model_;
  Splitter splitter_;
  AddedTokens before_, after_;  // looked for before normalization, and after
  std::optional<FormC> form_c_;
  std::vector<VocabularyRange> ranges_;
  int32_t begin_, end_;
  bool splits_at_cuts_;
  uint64_t hash_;
  std::string description_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<OfAThread>> idle_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeDefinition& definition) {
  return std::make_unique<BpeTokenizer>(definition);
}

}  // namespace drover
