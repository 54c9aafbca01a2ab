#include "data/tokenizer/pattern.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

#include "data/tokenizer/code_points.h"
#include "data/tokenizer/known_patterns.h"
#include "data/tokenizer/splitter.h"
#include "data/utf8.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

size_t matched(const Pattern& pattern, std::string_view text) { return pattern.match(text.data(), text.data() + text.size()); }

// The standard library's backtracking engine speaks ECMAScript, whose rules for these forms are Perl's.
TEST(Pattern, MatchesWhatABacktrackingEngineDoes) {
  const std::vector<std::string> expressions{
      R"(a|ab|abc)",
      R"((?:ab|a)(?:c|bcd)d*)",
      R"('s|'t|'re| ?[a-c]+| ?[0-9]+| ?[^\sa-c0-9]+|\s+(?!\S)|\s+)",
      R"([^\na-c0-9]?[a-c]+|[0-9]{1,3}| ?[^\sa-c0-9]+[\n]*|\s*[\n]+|\s+(?!\S)|\s+)",
      R"(a{2,3}b?|a{2}|[ab]{3,}c)",
      R"(a+?b|a*?c|a??d)",
      R"((?:a|b+)+c|[ab])",
      R"(a+(?=b)|a+(?!c)|ac)",
      R"((a(b|c){0,2}){1,2}|.\n)",
  };
  std::mt19937 random(1);
  for (const auto& expression : expressions) {
    const Pattern pattern(expression);
    const std::regex reference(expression);
    for (int i = 0; i < 2000; ++i) {
      std::string text;
      for (int length = static_cast<int>(random() % 9) + 1; length > 0; --length) text += "aabbcd 1\n's"[random() % 11];
      std::smatch match;
      const bool found = std::regex_search(text, match, reference, std::regex_constants::match_continuous);
      ASSERT_EQ(matched(pattern, text), found ? static_cast<size_t>(match.length()) : 0) << expression << " on " << text;
    }
  }
}

TEST(Pattern, KnowsUnicodesCategories) {
  EXPECT_EQ(matched(Pattern(R"(\p{L}+)"), "aé中文ـ1"), std::string("aé中文ـ").size());
  EXPECT_EQ(matched(Pattern(R"(\p{N}{1,3})"), "1²½Ⅷ"), std::string("1²½").size());
  EXPECT_EQ(matched(Pattern(R"(\p{Lu}\p{Ll})"), "Éa"), 3u);
  EXPECT_EQ(matched(Pattern(R"([^\p{L}\s]+)"), "!\u0301\u2003"), 3u);  // a combining mark is no letter; an em space is white
  EXPECT_EQ(matched(Pattern(R"(\P{L})"), "a"), 0u);
  EXPECT_EQ(matched(Pattern(R"(\s+)"), " \u00A0\u0085\u3000\u200B"), std::string(" \u00A0\u0085\u3000").size());  // not U+200B
}

TEST(Pattern, WithoutRegardToCaseALongSIsAnS) {
  const Pattern pattern("(?i:'s|'LL)");
  for (const char* text : {"'s", "'S", "'\u017F", "'ll", "'Ll", "'lL"})
    EXPECT_EQ(matched(pattern, text), std::string(text).size()) << text;
  EXPECT_EQ(matched(pattern, "'l"), 0u);
}

TEST(Pattern, BytesThatAreNoTextAreCharactersOfOneByte) {
  EXPECT_EQ(matched(Pattern(R"([^\p{L}]+)"),
                    "\xFF\xC3\x80\x80"
                    "a"),
            1u);                                                             // U+00C0 is a letter
  EXPECT_EQ(matched(Pattern(R"([^a]+)"), "\xE4\xB8\xED\xA0\x80\xF5z"), 7u);  // truncated, a surrogate, beyond Unicode
}

TEST(Pattern, RefusesWhatItDoesNotKnowByName) {
  const std::vector<std::pair<std::string, std::string>> refused{
      {R"(a++)", "possessive"},  {R"(\bx)", "this escape"},     {"^a", "\"^\""},        {"a$", "\"$\""},
      {"(?<=a)b", "a group"},    {"(?!ab)c", "look ahead"},     {"[a", "without"},      {"[a[b]]", "a set inside"},
      {"(a", "without \")\""},   {"a)", "without \"(\""},       {"a**", "repetition"},  {R"(\p{Han})", "property \"Han\""},
      {"a*", "without a char"},  {"a|", "without a character"}, {"[z-a]", "backwards"}, {"a{3,2}", "{m,n}"},
      {"(?i:é)", "beyond ASCII"}};
  for (const auto& [expression, word] : refused) {
    try {
      const Pattern pattern(expression);
      ADD_FAILURE() << expression;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

// By brute force over short texts of characters that matter: what ends_at_cuts() says of all texts.
bool same_words_when_cut(const std::string& expression, std::mt19937& random) {
  const Splitter splitter({expression});
  const auto words_of = [&](std::string_view text) {
    std::vector<std::string> words;
    splitter.split(text, [&](std::string_view word) { words.emplace_back(word); });
    return words;
  };
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int length = static_cast<int>(random() % 9) + 1; length > 0; --length) text += "aab \n\n1!/'s"[random() % 12];
    for (size_t at = 1; at < text.size(); ++at) {
      if (!may_cut(text, at)) continue;
      std::vector<std::string> halves = words_of(std::string_view(text).substr(0, at));
      for (const auto& word : words_of(std::string_view(text).substr(at))) halves.push_back(word);
      if (halves != words_of(text)) return false;
    }
  }
  return true;
}

TEST(Pattern, KnowsWhetherTextMayBeCut) {
  const std::string o200k_like = R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  std::mt19937 random(1);
  for (const std::string& expression :
       {std::string(kGpt2Pattern), std::string(kLlama3Pattern), std::string(kQwen2Pattern), std::string(kLlama4Pattern), o200k_like,
        std::string(R"(\S+|\s+(?!\S)|\s+)"), std::string(R"(a+ ?|[^a])"), std::string(R"(a+(?= )|.|\n)"),
        std::string(R"(a+(?! )|.|\n)"), std::string(R"(a+|[0-9]+)"), std::string(R"(\S+\n\S+|[^\n]|\n)"), std::string(R"(.+)"),
        std::string(R"(\S+\s+|\s+)"), std::string(R"(a+|\s)"), std::string(R"(a+|\s+(?= )|b)"),
        std::string(R"([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
        std::string(R"((?:[^\s]|\n/)+|\s+(?!\S)|\s)")}) {
    const Splitter splitter({expression});
    EXPECT_EQ(splitter.splits_at_cuts(), same_words_when_cut(expression, random)) << expression;
  }
  EXPECT_TRUE(Splitter({kLlama3Pattern}).splits_at_cuts());
  EXPECT_FALSE(Splitter({std::string(R"(.+)")}).splits_at_cuts());
  // DeepSeek's: digits and CJK first, then the rest of what lies between them.
  EXPECT_TRUE(Splitter({R"(\p{N}{1,3})", R"([一-龥]+)", kGpt2Pattern}).splits_at_cuts());
  EXPECT_TRUE(Splitter({kGpt2Pattern, R"(.+)"}).splits_at_cuts());
  EXPECT_FALSE(Splitter({R"(\p{N}+)", R"([a-c]+)"}).splits_at_cuts()) << "what no word takes is one piece across a cut";
}

}  // namespace
}  // namespace drover
