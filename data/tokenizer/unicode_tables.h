// What Unicode says of characters, as far as tokenizers ask: general categories of Unicode 16.0 (UnicodeData.txt; chapter 4.5), and for
// normalization form C (annex 15) the data of Unicode 9.0. make_unicode_tables.py writes the tables and says why those versions.
#pragma once
#include <cstdint>
#include <span>

namespace drover {

// clang-format off
enum class Category : uint8_t { Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, No, Pc, Pd, Ps, Pe, Pi, Pf, Po, Sm, Sc, Sk, So, Zs, Zl, Zp, Cc, Cf, Cs, Co, Cn };
// clang-format on

struct CategoryRange {  // goes up to the next range's first
  char32_t first;
  Category category;
};
std::span<const CategoryRange> category_ranges();

struct ClassRange {  // goes up to the next range's first
  char32_t first;
  uint8_t value;
};
std::span<const ClassRange> combining_class_ranges();  // Canonical_Combining_Class
// 1: form C leaves the character alone, whatever stands before and after: of class 0, not decomposed, no second part of a composition.
std::span<const ClassRange> inert_ranges();

struct Decomposition {
  char32_t code, first, second;  // second 0: of one character
};
std::span<const Decomposition> decompositions();  // canonical, one level, by code; Hangul syllables are left to arithmetic
std::span<const Decomposition> compositions();    // by (first, second); without what form C excludes

}  // namespace drover
