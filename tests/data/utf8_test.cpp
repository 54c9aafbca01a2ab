// Well-formed and ill-formed UTF-8: the tables of the Unicode Standard, and all of it against an encoder of the definition. Python's decoder is
// asked in tests/oracle/prepare_oracle.py.
#include "data/utf8.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <random>
#include <vector>

namespace drover {
namespace {

// Definition D92: the only encoding of a Unicode scalar value.
std::string encoded(uint32_t c) {
  const auto byte = [](uint32_t bits) { return static_cast<char>(bits); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xc0 | c >> 6), byte(0x80 | (c & 0x3f))};
  if (c < 0x10000) return {byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))};
  return {byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 0x3f)), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))};
}

TEST(Utf8, EveryScalarValueIsWellFormedAndNoSurrogateIs) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    const std::string text = encoded(c);
    const bool scalar = c < 0xd800 || c > 0xdfff;
    ASSERT_EQ(well_formed_utf8(text) == text.size(), scalar) << c;
  }
}

// Each sequence of three bytes is well-formed exactly when it is made of encodings.
TEST(Utf8, ShortSequences) {
  std::array<std::vector<bool>, 4> is_encoding{std::vector<bool>(1), std::vector<bool>(1 << 8), std::vector<bool>(1 << 16),
                                               std::vector<bool>(1 << 24)};
  const auto number = [](const std::string& bytes) {
    size_t n = 0;
    for (const char c : bytes) n = n << 8 | static_cast<unsigned char>(c);
    return n;
  };
  for (uint32_t c = 0; c < 0x10000; ++c)
    if (c < 0xd800 || c > 0xdfff) is_encoding[encoded(c).size()][number(encoded(c))] = true;
  const auto sound = [&](const std::string& text) {  // the longest beginning of whole encodings
    size_t at = 0;
    for (bool more = true; more;) {
      more = false;
      for (size_t bytes = 1; bytes <= 3 && at + bytes <= text.size() && !more; ++bytes)
        if (is_encoding[bytes][number(text.substr(at, bytes))]) at += bytes, more = true;
    }
    return at;
  };
  const std::string before(70, 'a');  // beyond a block
  for (uint32_t n = 0; n < 1 << 24; n += n < 0x800000 ? 977 : 23) {
    const std::string text{static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
    ASSERT_EQ(well_formed_utf8(text), sound(text)) << std::hex << n;
    ASSERT_EQ(well_formed_utf8(before + text), 70 + sound(text)) << std::hex << n;
  }
}

// Unicode 16.0, tables 3-8 to 3-11.
TEST(Utf8, EachMaximalSubpartIsReplacedOnce) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(replace_ill_formed_utf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_ill_formed_utf8("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(replace_ill_formed_utf8("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42"), r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(replace_ill_formed_utf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), r + r + r + r + "A");
  EXPECT_EQ(replace_ill_formed_utf8("sound \xf0\x9f\x90\x91"), "sound \xf0\x9f\x90\x91");
  EXPECT_EQ(replace_ill_formed_utf8("cut \xf0\x9f\x90"), "cut " + r);
}

TEST(Utf8, TheFirstIllFormedByteIsFoundWhereverItStands) {
  std::mt19937 random(5);
  const std::string alphabet[] = {"a", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x90\x91"};
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text;
    for (uint32_t length = random() % 200; length > 0; --length) text += alphabet[random() % (trial % 4 + 1)];
    ASSERT_EQ(well_formed_utf8(text), text.size());
    const size_t sound = text.size();
    text.append("\xff").append(text, 0, sound);
    ASSERT_EQ(well_formed_utf8(text), sound);
  }
}

// Unicode 16.0, PropList.txt, White_Space.
TEST(Utf8, WhiteSpace) {
  for (uint32_t c = 0x20; c < 0x110000; ++c) {
    const bool space = c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
                       c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
    const std::string text = encoded(c);
    ASSERT_EQ(leading_space(text + "x"), space ? text.size() : 0) << c;
    ASSERT_EQ(trailing_space("x" + text), space ? text.size() : 0) << c;
  }
}

TEST(Utf8, CutsOnlyWhereNoTokenizerNotices) {
  const auto cuts = [](const std::string& text) {
    std::vector<size_t> found;
    for (size_t at = 0; at <= text.size(); ++at)
      if (may_cut(text, at)) found.push_back(at);
    return found;
  };
  using Places = std::vector<size_t>;
  EXPECT_EQ(cuts("one two"), Places{3});
  EXPECT_EQ(cuts("one  two"), Places{3}) << "the second space belongs to the word";
  EXPECT_EQ(cuts("a\nb"), Places{2});
  EXPECT_EQ(cuts("a\n\nb"), Places{}) << "GPT-2 splits line feeds before a word one by one";
  EXPECT_EQ(cuts("a \nb"), Places{1});
  EXPECT_EQ(cuts("a\n b"), Places{});
  EXPECT_EQ(cuts("a!\n/b"), Places{}) << "o200k";
  EXPECT_EQ(cuts("a\n\xe3\x80\x80"
                 "b"),
            Places{})
      << "a space of Chinese text";
  EXPECT_EQ(cuts("a\xc2\x85\nb"), Places{});
  EXPECT_EQ(cuts("a\xe2\x80\xa9 b"), Places{});
  EXPECT_EQ(cuts("\nb"), Places{}) << "what stands before is not known";
  EXPECT_EQ(cuts("\xe4\xb8\xad\n\xe4\xb8\xad"), Places{4});
}

}  // namespace
}  // namespace drover
