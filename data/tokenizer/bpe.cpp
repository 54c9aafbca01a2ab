#include "data/tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace drover {
namespace {

std::vector<int32_t> byte_ids_of(const std::vector<std::string>& tokens) {
  std::vector<int32_t> ids(256, -1);
  for (size_t id = tokens.size(); id-- > 0;)  // of equal ones the first
    if (tokens[id].size() == 1) ids[static_cast<uint8_t>(tokens[id][0])] = static_cast<int32_t>(id);
  for (size_t byte = 0; byte < 256; ++byte)
    if (ids[byte] < 0)
      throw Error(ExitCode::data,
                  fmt::format("byte {:#04x} is no token, so some texts would lose it; a byte-level vocabulary has all 256", byte));
  return ids;
}

std::vector<std::string> not_too_many(std::vector<std::string> tokens, const std::vector<BpeMerge>& merges) {
  if (tokens.size() > BpeModel::kMostTokens || merges.size() > BpeModel::kMostMerges)
    throw Error(ExitCode::data, fmt::format("{} tokens and {} merges; at most {} and {}", tokens.size(), merges.size(),
                                            BpeModel::kMostTokens, BpeModel::kMostMerges));
  return tokens;
}

}  // namespace

BpeModel::BpeModel(std::vector<std::string> tokens, const std::vector<BpeMerge>& merges, bool whole_words)
    : tokens_(not_too_many(std::move(tokens), merges)), merges_(byte_ids_of(tokens_), merges), rows_(tokens_.size()),
      whole_words_(whole_words), trie_(tokens_, find_unmade()) {
  for (size_t id = 0; id < tokens_.size(); ++id) rows_[id].shorter = trie_.shorter(static_cast<int32_t>(id));
  for (const BpeMerge& merge : merges) {
    rows_[static_cast<size_t>(merge.left)].joined_after |= partner_bit(merge.right);
    rows_[static_cast<size_t>(merge.right)].joined_before |= partner_bit(merge.left);
  }
}

// Which tokens merging does not make of their bytes; and how it makes the others.
std::vector<bool> BpeModel::find_unmade() {
  std::vector<bool> unmade(tokens_.size());
  std::vector<int32_t> ids;
  std::vector<BpeMerges::Join> joins;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].empty()) continue;
    ids.clear(), joins.clear();
    merges_.merge(tokens_[id], ids, &joins);
    unmade[id] = ids != std::vector{static_cast<int32_t>(id)};
    Token& token = rows_[id];
    token.bytes = static_cast<uint32_t>(tokens_[id].size());
    if (joins.empty()) continue;
    token.left = static_cast<uint32_t>(joins.back().left), token.right = static_cast<uint32_t>(joins.back().right);
    token.rank = joins.back().rank;
    token.in_order =
        std::is_sorted(joins.begin(), joins.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; }) ? 1 : 0;
  }
  return unmade;
}

void BpeModel::encode(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const {
  if (word.size() > kLong && !whole_words_) return merges_.merge(word, ids);
  const TokenTrie::Match first = trie_.longest(word);
  if (whole_words_ && first.whole >= 0) return ids.push_back(first.whole);
  if (first.bytes == word.size()) return ids.push_back(first.token);
  if (word.size() > kLong) return merges_.merge(word, ids);
  search(word, first, work);
  for (const auto& part : work.parts) ids.push_back(part.token);
}

void BpeModel::search(std::string_view word, TokenTrie::Match first, Workspace& work) const {
  auto& parts = work.parts;
  auto& leads_nowhere = work.leads_nowhere;
  parts.clear();
  leads_nowhere.assign(word.size() / 64 + 1, 0);
  int32_t token = first.token;
  size_t at = 0, bytes = first.bytes;  // the token's
  const auto try_shorter = [&](int32_t than) {
    token = row(than).shorter;
    if (token >= 0) bytes = row(token).bytes;
  };
  while (true) {
    if (token < 0) {  // none was left to try here
      leads_nowhere[at / 64] |= uint64_t{1} << at % 64;
      at = parts.back().begin;
      try_shorter(parts.back().token);
      parts.pop_back();
      continue;
    }
    const size_t end = at + bytes;
    if ((leads_nowhere[end / 64] >> end % 64 & 1) != 0 || (!parts.empty() && !stay_apart(parts.back().token, token, work))) {
      try_shorter(token);
      continue;
    }
    parts.push_back({token, static_cast<uint32_t>(at)});
    at = end;
    if (at == word.size()) return;
    const TokenTrie::Match next = trie_.longest(word.substr(at));
    token = next.token, bytes = next.bytes;  // not from its row: what is behind it can be looked up meanwhile
  }
}

bool BpeModel::stay_apart(int32_t left, int32_t right, Workspace& work) const {
  if (row(left).in_order != 0 && row(right).in_order != 0) return stay_apart_in_order(left, right);
  work.two_tokens.assign(tokens_[static_cast<size_t>(left)]).append(tokens_[static_cast<size_t>(right)]);
  work.ids.clear();
  merges_.merge(work.two_tokens, work.ids);
  return work.ids.size() == 2 && work.ids[0] == left && work.ids[1] == right;
}

// Undoes the merges at the border, the later one first: what has `rank` ended, a merge across the border had to come before.
bool BpeModel::stay_apart_in_order(int32_t left, int32_t right) const {
  for (uint32_t limit = BpeMerges::kNoRank;;) {
    const Token &of_left = row(left), &of_right = row(right);
    const bool may_join = (of_left.joined_after & partner_bit(right)) != 0 && (of_right.joined_before & partner_bit(left)) != 0;
    if (may_join && merges_.rank_of(left, right) < limit) return false;
    if (of_left.bytes == 1 && of_right.bytes == 1) return true;
    if (of_right.bytes == 1 || (of_left.bytes > 1 && of_left.rank > of_right.rank)) {
      limit = of_left.rank;  // of equal ranks the left one comes first
      left = of_left.right;
    } else {
      limit = of_right.rank + 1;
      right = of_right.left;
    }
  }
}

}  // namespace drover
