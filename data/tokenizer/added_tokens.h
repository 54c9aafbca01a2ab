// Tokens that a tokenizer's file adds to its vocabulary, found in text as they stand. Those that are special are never made from text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/byte_run.h"
#include "data/tokenizer/token_trie.h"

namespace drover {

class AddedTokens {
 public:
  struct Token {
    std::string content;
    int32_t id;
    bool special;
  };
  // Of tokens with the same content the first counts.
  explicit AddedTokens(const std::vector<Token>& tokens);

  // text_between(std::string_view) and token(id) in the text's order. Matches are the longest at their place, from left to right; a special
  // token's match is text, and hides what begins within it, as in `tokenizers` with encode_special_tokens.
  template <class Text, class Id> void cut(std::string_view text, Text&& text_between, Id&& token) const {
    const char *begin = text.data(), *end = begin + text.size();
    if (makes_ids_)
      for (const char* at = begin; (at = end_of_run(begins_none_, at, end)) < end;) {
        const TokenTrie::Match found = trie_.longest({at, static_cast<size_t>(end - at)});
        if (found.token < 0) {
          ++at;
          continue;
        }
        if (const Token& added = tokens_[static_cast<size_t>(found.token)]; !added.special) {
          if (begin < at) text_between(std::string_view(begin, static_cast<size_t>(at - begin)));
          token(added.id);
          begin = at + found.bytes;
        }
        at += found.bytes;
      }
    if (begin < end) text_between(std::string_view(begin, static_cast<size_t>(end - begin)));
  }

 private:
  std::vector<Token> tokens_;
  TokenTrie trie_;          // of their places in tokens_
  ByteSet begins_none_{};   // bytes that no token begins with
  bool makes_ids_ = false;  // some token is not special
};

}  // namespace drover
