#include "data/tokenizer/normalize.h"

#include <algorithm>

#include "data/tokenizer/code_points.h"

namespace drover {
namespace {

// Hangul syllables by arithmetic: the Unicode Standard, chapter 3.12.
constexpr char32_t kSyllables = 0xAC00, kLeading = 0x1100, kVowels = 0x1161, kTrailing = 0x11A7;
constexpr char32_t kLeadingCount = 19, kVowelCount = 21, kTrailingCount = 28,
                   kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

}  // namespace

FormC::FormC() : properties_(kCodePoints) {
  const auto fill = [this](std::span<const ClassRange> ranges, auto&& set) {
    for (size_t i = 0; i < ranges.size(); ++i)
      for (char32_t code = ranges[i].first; code < (i + 1 < ranges.size() ? ranges[i + 1].first : kCodePoints); ++code)
        set(properties_[code], ranges[i].value);
  };
  fill(combining_class_ranges(), [](uint8_t& property, uint8_t value) { property = value; });
  fill(inert_ranges(), [](uint8_t& property, uint8_t inert) { property = inert != 0 ? kInert : property; });
}

std::string_view FormC::normalize(std::string_view text, std::string& changed) const {
  const char *at = text.data(), *end = at + text.size(), *copied = at;
  changed.clear();
  const char* last_start = at;  // of the last inert character: what follows may change with it
  std::u32string codes;
  while (at < end) {
    if (static_cast<uint8_t>(*at) < 0x80) {  // ASCII is inert
      last_start = at++;
      continue;
    }
    const auto [code, bytes] = decode_character(at, end);
    if (is_inert(code)) {
      const bool no_text = code == kReplacementCharacter && bytes == 1;  // a byte that stays itself
      last_start = no_text ? at + 1 : at;
      at += bytes;
      continue;
    }
    changed.append(copied, last_start);
    codes.clear();
    for (at = last_start; at < end;) {
      const auto character = decode_character(at, end);
      if (at != last_start && (is_inert(character.code) || (character.code == kReplacementCharacter && character.bytes == 1)))
        break;
      decompose(character.code, codes);
      at += character.bytes;
    }
    append_composed(codes, changed);
    copied = last_start = at;
  }
  if (copied == text.data()) return text;
  changed.append(copied, end);
  return changed;
}

void FormC::decompose(char32_t code, std::u32string& to) const {
  if (code >= kSyllables && code < kSyllables + kSyllableCount) {
    const char32_t syllable = code - kSyllables;
    to.push_back(kLeading + syllable / (kVowelCount * kTrailingCount));
    to.push_back(kVowels + syllable / kTrailingCount % kVowelCount);
    if (syllable % kTrailingCount != 0) to.push_back(kTrailing + syllable % kTrailingCount);
    return;
  }
  const auto all = decompositions();
  const auto found =
      std::lower_bound(all.begin(), all.end(), code, [](const Decomposition& entry, char32_t value) { return entry.code < value; });
  if (found == all.end() || found->code != code) {
    to += code;
    return;
  }
  decompose(found->first, to);
  if (found->second != 0) decompose(found->second, to);
}

char32_t FormC::compose(char32_t first, char32_t second) const {
  if (first >= kLeading && first < kLeading + kLeadingCount && second >= kVowels && second < kVowels + kVowelCount)
    return kSyllables + ((first - kLeading) * kVowelCount + (second - kVowels)) * kTrailingCount;
  if (first >= kSyllables && first < kSyllables + kSyllableCount && (first - kSyllables) % kTrailingCount == 0 &&
      second > kTrailing && second < kTrailing + kTrailingCount)
    return first + (second - kTrailing);
  const auto all = compositions();
  const std::pair wanted{first, second};
  const auto found = std::lower_bound(all.begin(), all.end(), wanted, [](const Decomposition& entry, const auto& value) {
    return std::pair{entry.first, entry.second} < value;
  });
  return found != all.end() && std::pair{found->first, found->second} == wanted ? found->code : 0;
}

// Canonical order, then composition: the Unicode Standard, chapter 3.11.
void FormC::append_composed(std::u32string& codes, std::string& to) const {
  for (size_t begin = 0; begin < codes.size();) {
    size_t end = begin + 1;
    if (combining_class(codes[begin]) != 0) {
      while (end < codes.size() && combining_class(codes[end]) != 0) ++end;
      std::stable_sort(codes.begin() + static_cast<std::ptrdiff_t>(begin), codes.begin() + static_cast<std::ptrdiff_t>(end),
                       [this](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    }
    begin = end;
  }
  std::u32string composed;
  size_t starter = std::u32string::npos;
  int last_class = -1;  // of what stands between the starter and the character looked at; -1: nothing
  for (const char32_t code : codes) {
    const int current = combining_class(code);
    const bool blocked = last_class >= 0 && (last_class == 0 || last_class >= current);
    if (starter != std::u32string::npos && !blocked)
      if (const char32_t whole = compose(composed[starter], code); whole != 0) {
        composed[starter] = whole;
        continue;
      }
    if (current == 0) {
      starter = composed.size();
      last_class = -1;
    } else {
      last_class = current;
    }
    composed += code;
  }
  for (const char32_t code : composed) append_utf8(to, code);
}

}  // namespace drover
