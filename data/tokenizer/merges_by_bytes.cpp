#include "data/tokenizer/merges_by_bytes.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <unordered_map>

namespace drover {
namespace {

using Ids = std::unordered_map<std::string_view, int32_t>;

// What joining neighbours, the lowest id first and all below `below`, leaves of a token's bytes.
std::vector<std::string_view> parts_below(int32_t below, std::string_view token, const Ids& ids) {
  std::vector<std::string_view> parts;
  std::vector<int32_t> joined(token.size(), below);  // by part: the id of it and the next one, if below
  const auto look_up = [&](size_t i) {
    joined[i] = below;
    if (i + 1 >= parts.size()) return;
    const auto found = ids.find({parts[i].data(), parts[i].size() + parts[i + 1].size()});
    if (found != ids.end()) joined[i] = std::min(below, found->second);
  };
  for (size_t i = 0; i < token.size(); ++i) parts.push_back(token.substr(i, 1));
  for (size_t i = 0; i < parts.size(); ++i) look_up(i);
  while (true) {
    const auto lowest = std::min_element(joined.begin(), joined.end());
    if (*lowest == below) return parts;
    const auto best = lowest - joined.begin();
    const auto at = static_cast<size_t>(best);
    parts[at] = {parts[at].data(), parts[at].size() + parts[at + 1].size()};
    parts.erase(parts.begin() + best + 1);
    joined.erase(joined.begin() + best + 1);
    look_up(at);
    if (at > 0) look_up(at - 1);
  }
}

}  // namespace

// Two neighbours that were made by joining below a token's id alone are the two that this leaves of the token's bytes: what is joined within them
// does not depend on what is around, and what could be joined below was. So of the other ways only those count of which a part may have been
// made by a higher id: rare in a vocabulary that was trained at once, not so where two were put together, as for Llama 3.
std::vector<BpeMerge> merges_by_bytes(const std::vector<std::string>& tokens) {
  Ids ids(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) ids.emplace(tokens[id], static_cast<int32_t>(id));
  std::vector<int32_t> by_length(tokens.size());
  std::iota(by_length.begin(), by_length.end(), 0);
  std::stable_sort(by_length.begin(), by_length.end(), [&](int32_t a, int32_t b) {
    return tokens[static_cast<size_t>(a)].size() < tokens[static_cast<size_t>(b)].size();
  });
  std::vector<int32_t> highest(tokens.size());  // id that may have been joined on the way to a token, itself included
  std::vector<std::vector<BpeMerge>> ways(tokens.size());
  for (const int32_t id : by_length) {
    const std::string_view token = tokens[static_cast<size_t>(id)];
    int32_t& top = highest[static_cast<size_t>(id)];
    top = id;
    if (token.size() < 2 || ids.at(token) != id) continue;
    const auto parts = parts_below(id, token, ids);
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ids.find(token.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(token.substr(cut));
      if (right == ids.end()) continue;
      const int32_t of_parts = std::max(highest[static_cast<size_t>(left->second)], highest[static_cast<size_t>(right->second)]);
      if (of_parts < id && !(parts.size() == 2 && parts[0].size() == cut)) continue;
      ways[static_cast<size_t>(id)].push_back({left->second, right->second, id, !ways[static_cast<size_t>(id)].empty()});
      top = std::max(top, of_parts);
    }
  }
  std::vector<BpeMerge> merges;
  for (const auto& of_token : ways) merges.insert(merges.end(), of_token.begin(), of_token.end());
  return merges;
}

}  // namespace drover
