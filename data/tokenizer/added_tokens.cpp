#include "data/tokenizer/added_tokens.h"

#include <algorithm>

namespace drover {

AddedTokens::AddedTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  const auto first = [](const Token& token) { return static_cast<uint8_t>(token.content[0]); };
  std::erase_if(tokens_, [](const Token& token) { return token.content.empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(), [&](const Token& a, const Token& b) {
    return first(a) != first(b) ? first(a) < first(b) : a.content.size() > b.content.size();
  });
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    auto& [begin, end] = by_first_[first(tokens_[i])];
    if (end == 0) begin = i;
    end = i + 1;
    makes_ids_ = makes_ids_ || !tokens_[i].special;
  }
}

const AddedTokens::Token* AddedTokens::longest_at(std::string_view text) const {
  const auto [begin, end] = by_first_[static_cast<uint8_t>(text[0])];
  for (uint32_t i = begin; i < end; ++i)
    if (text.starts_with(tokens_[i].content)) return &tokens_[i];
  return nullptr;
}

}  // namespace drover
