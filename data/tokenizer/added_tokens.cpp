#include "data/tokenizer/added_tokens.h"

#include <set>

namespace drover {
namespace {

std::vector<AddedTokens::Token> without_repeats(const std::vector<AddedTokens::Token>& tokens) {
  std::vector<AddedTokens::Token> kept;
  std::set<std::string_view> seen{""};
  for (const auto& token : tokens)
    if (seen.insert(token.content).second) kept.push_back(token);
  return kept;
}

std::vector<std::string> contents(const std::vector<AddedTokens::Token>& tokens) {
  std::vector<std::string> all;
  all.reserve(tokens.size());
  for (const auto& token : tokens) all.push_back(token.content);
  return all;
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<Token>& tokens)
    : tokens_(without_repeats(tokens)), trie_(contents(tokens_), std::vector<bool>(tokens_.size())) {
  begins_none_.fill(1);
  for (const Token& token : tokens_) {
    begins_none_[static_cast<uint8_t>(token.content[0])] = 0;
    makes_ids_ = makes_ids_ || !token.special;
  }
}

}  // namespace drover
