#include "data/tokenizer/code_points.h"

#include <algorithm>

namespace drover {
namespace {

constexpr std::string_view kCategoryNames[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                               "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                               "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};

}  // namespace

void append_utf8(std::string& text, char32_t code) {
  const auto append = [&text](char32_t byte) { text += static_cast<char>(byte); };
  const auto append_rest = [&](int bits) {
    for (; bits >= 0; bits -= 6) append(0x80 | (code >> bits & 0x3F));
  };
  if (code < 0x80) {
    append(code);
  } else if (code < 0x800) {
    append(0xC0 | code >> 6), append_rest(0);
  } else if (code < 0x10000) {
    append(0xE0 | code >> 12), append_rest(6);
  } else {
    append(0xF0 | code >> 18), append_rest(12);
  }
}

bool CodePointSet::of_category(std::string_view name, CodePointSet& set) {
  set = {};
  bool known = false;
  for (const auto category : kCategoryNames) known = known || category.starts_with(name);
  if (!known || name.empty()) return false;
  const auto all = category_ranges();
  for (size_t i = 0; i < all.size(); ++i)
    if (kCategoryNames[static_cast<size_t>(all[i].category)].starts_with(name))
      set.ranges_.push_back({all[i].first, (i + 1 < all.size() ? all[i + 1].first : kCodePoints) - 1});
  return true;
}

CodePointSet CodePointSet::white_space() {
  CodePointSet set;
  set.ranges_ = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
                 {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
  return set;
}

void CodePointSet::add(const CodePointSet& other) {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  std::sort(all.begin(), all.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  ranges_.clear();
  for (const Range& range : all) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1)
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    else
      ranges_.push_back(range);
  }
}

CodePointSet CodePointSet::complement() const {
  CodePointSet set;
  char32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) set.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next < kCodePoints) set.ranges_.push_back({next, kCodePoints - 1});
  return set;
}

bool CodePointSet::contains(char32_t code) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), code,
                                      [](char32_t value, const Range& range) { return value < range.first; });
  return after != ranges_.begin() && code <= std::prev(after)->last;
}

}  // namespace drover
