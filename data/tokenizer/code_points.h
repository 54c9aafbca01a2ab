// Code points of UTF-8 text, and sets of them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/unicode_tables.h"

namespace drover {

constexpr char32_t kReplacementCharacter = 0xFFFD;
constexpr char32_t kCodePoints = 0x110000;

struct DecodedCharacter {
  char32_t code;
  int bytes;  // 1 to 4
};
// The character at `at`. A byte that begins no well-formed sequence is U+FFFD of one byte, so that every text is characters. REQUIRES: at < end.
inline DecodedCharacter decode_character(const char* at, const char* end) {
  const auto byte = [at](int i) { return static_cast<uint8_t>(at[i]); };
  const auto continues = [&](int i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t lead = byte(0);
  const auto left = end - at;
  if (lead < 0x80) return {lead, 1};
  if (lead >= 0xC2 && lead < 0xE0 && left >= 2 && continues(1)) return {(lead & 0x1Fu) << 6 | (byte(1) & 0x3Fu), 2};
  if (lead >= 0xE0 && lead < 0xF0 && left >= 3 && continues(1) && continues(2)) {
    const char32_t code = (lead & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    if (code >= 0x800 && (code < 0xD800 || code >= 0xE000)) return {code, 3};
  }
  if (lead >= 0xF0 && lead < 0xF5 && left >= 4 && continues(1) && continues(2) && continues(3)) {
    const char32_t code = (lead & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
    if (code >= 0x10000 && code < kCodePoints) return {code, 4};
  }
  return {kReplacementCharacter, 1};
}

void append_utf8(std::string& text, char32_t code);

// A set of code points, as ascending ranges that do not touch.
class CodePointSet {
 public:
  struct Range {
    char32_t first, last;
  };
  CodePointSet() = default;
  CodePointSet(char32_t first, char32_t last) : ranges_{{first, last}} {}
  // "L", "Lu", ...: a general category or all that begin with the letter. False when Unicode has no such category.
  static bool of_category(std::string_view name, CodePointSet& set);
  static CodePointSet white_space();  // Unicode's White_Space: \s

  void add(const CodePointSet& other);
  CodePointSet complement() const;
  bool contains(char32_t code) const;
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

}  // namespace drover
