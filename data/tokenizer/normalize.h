// Unicode's normalization form C (annex 15), as the library `tokenizers` applies it: with the characters of Unicode 9.0.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/unicode_tables.h"

namespace drover {

class FormC {
 public:
  FormC();
  // The text in form C; `changed` holds it where it is another text, else it is `text`. Bytes that are no well-formed UTF-8 stay as they are.
  std::string_view normalize(std::string_view text, std::string& changed) const;

 private:
  void decompose(char32_t code, std::u32string& to) const;
  char32_t compose(char32_t first, char32_t second) const;  // 0: they do not
  void append_composed(std::u32string& codes, std::string& to) const;
  bool is_inert(char32_t code) const { return properties_[code] == kInert; }
  uint8_t combining_class(char32_t code) const { return properties_[code] == kInert ? 0 : properties_[code]; }

  static constexpr uint8_t kInert = 0xFF;  // no character has that combining class
  std::vector<uint8_t> properties_;        // by code point: the combining class, or kInert
};

}  // namespace drover
