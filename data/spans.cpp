#include "data/spans.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr char kBorder = '\xFF', kAfterName = '\xFE';

void encode_span(const VocabularyRange& range, std::string_view codes, std::vector<int32_t>& tokens) {
  tokens.push_back(range.begin);
  for (const char *at = codes.data(), *end = at + codes.size(); at < end; ++at) {
    int32_t code = 0;
    at = std::from_chars(at, end, code).ptr;
    tokens.push_back(range.first + code);
  }
  tokens.push_back(range.end);
}

}  // namespace

const VocabularyRange* find_range(const std::vector<VocabularyRange>& ranges, std::string_view name) {
  const auto found = std::find_if(ranges.begin(), ranges.end(), [&](const VocabularyRange& range) { return range.name == name; });
  return found == ranges.end() ? nullptr : &*found;
}

std::string names_of(const std::vector<VocabularyRange>& ranges) {
  std::string names;
  for (const VocabularyRange& range : ranges) names += (names.empty() ? "" : ", ") + range.name;
  return names.empty() ? "none" : names;
}

std::string append_span(std::string& document, std::string_view name, std::span<const int64_t> codes,
                        const std::vector<VocabularyRange>& ranges) {
  const VocabularyRange* range = find_range(ranges, name);
  if (range == nullptr)
    return fmt::format("the tokenizer has no range \"{}\" (it has {}); `drover tokenizer add-range` adds one", name,
                       names_of(ranges));
  for (const int64_t code : codes)
    if (code < 0 || code >= range->size)
      return fmt::format("{} is no code of range \"{}\", which has 0 to {}", code, name, range->size - 1);
  document += kBorder;
  document += name;
  document += kAfterName;
  document += fmt::format("{}", fmt::join(codes, " "));
  document += kBorder;
  return "";
}

void encode_document(const Tokenizer& tokenizer, std::string_view document, std::vector<int32_t>& tokens) {
  for (size_t at = 0; at < document.size();) {
    const size_t border = std::min(document.find(kBorder, at), document.size());
    if (border > at) tokenizer.encode(document.substr(at, border - at), tokens);
    if (border == document.size()) return;
    const size_t name = border + 1, codes = document.find(kAfterName, name) + 1, end = document.find(kBorder, codes);
    const VocabularyRange* range = find_range(tokenizer.ranges(), document.substr(name, codes - 1 - name));
    DROVER_CHECK(range != nullptr, "a span of a range that the tokenizer does not have");
    encode_span(*range, document.substr(codes, end - codes), tokens);
    at = end + 1;
  }
}

}  // namespace drover
