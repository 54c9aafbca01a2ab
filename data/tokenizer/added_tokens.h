// Tokens that a tokenizer's file adds to its vocabulary, found in text as they stand. Those that are special are never made from text.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace drover {

class AddedTokens {
 public:
  struct Token {
    std::string content;
    int32_t id;
    bool special;
  };
  explicit AddedTokens(std::vector<Token> tokens);

  // text_between(std::string_view) and token(id) in the text's order. Matches are the longest at their place, from left to right; a special
  // token's match is text, and hides what begins within it, as in `tokenizers` with encode_special_tokens.
  template <class Text, class Id> void cut(std::string_view text, Text&& text_between, Id&& token) const {
    size_t begin = 0;
    if (makes_ids_)
      for (size_t at = 0; at < text.size();) {
        const Token* found = longest_at(text.substr(at));
        if (found == nullptr) {
          ++at;
          continue;
        }
        if (!found->special) {
          if (begin < at) text_between(text.substr(begin, at - begin));
          token(found->id);
          begin = at + found->content.size();
        }
        at += found->content.size();
      }
    if (begin < text.size()) text_between(text.substr(begin));
  }

 private:
  const Token* longest_at(std::string_view text) const;
  std::vector<Token> tokens_;                                  // by first byte, the longest first
  std::array<std::pair<uint32_t, uint32_t>, 256> by_first_{};  // of each first byte: a range of tokens_
  bool makes_ids_ = false;                                     // some token is not special
};

}  // namespace drover
