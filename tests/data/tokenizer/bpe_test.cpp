#include "data/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "data/tokenizer/merges_by_bytes.h"
#include "data/tokenizer/word_cache.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

// Bytes as tokens 0 to 255, then random merges of what there is, as training would find them.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<BpeMerge> merges;
};
Vocabulary random_vocabulary(unsigned seed, size_t merges) {
  std::mt19937 random(seed);
  Vocabulary made;
  for (int byte = 0; byte < 256; ++byte) made.tokens.emplace_back(1, static_cast<char>(byte));
  std::map<std::string, int32_t> ids;
  std::vector<int32_t> useful{'a', 'b', 'c'};
  while (made.merges.size() < merges) {
    const int32_t left = useful[random() % useful.size()], right = useful[random() % useful.size()];
    const std::string joined = made.tokens[static_cast<size_t>(left)] + made.tokens[static_cast<size_t>(right)];
    if (joined.size() > 12 || ids.contains(joined)) continue;
    ids[joined] = static_cast<int32_t>(made.tokens.size());
    useful.push_back(ids[joined]);
    made.merges.push_back({left, right, ids[joined]});
    made.tokens.push_back(joined);
  }
  return made;
}

// As the paper says it: look for the lowest merge in the whole word, join its first occurrence, start over.
std::vector<int32_t> merge_slowly(const Vocabulary& vocabulary, std::string_view word) {
  std::vector<int32_t> parts;
  for (const char c : word) parts.push_back(static_cast<unsigned char>(c));
  for (bool joined = true; joined;) {
    joined = false;
    for (const BpeMerge& merge : vocabulary.merges) {
      for (size_t i = 0; i + 1 < parts.size() && !joined; ++i)
        if (parts[i] == merge.left && parts[i + 1] == merge.right) {
          parts[i] = merge.merged;
          parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
          joined = true;
        }
      if (joined) break;
    }
  }
  return parts;
}

TEST(Bpe, MergesAsThePaperSays) {
  std::mt19937 random(7);
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const Vocabulary vocabulary = random_vocabulary(seed, 60);
    const BpeModel model(vocabulary.tokens, vocabulary.merges, false);
    for (int i = 0; i < 200; ++i) {
      std::string word;  // on both sides of the length where another method begins
      for (size_t length = i < 150 ? random() % 20 + 1 : random() % 30 + 55; length > 0; --length)
        word += "aaabbcc\xC3\0"[random() % 9];
      std::vector<int32_t> ids;
      model.encode(word, ids);
      ASSERT_EQ(ids, merge_slowly(vocabulary, word)) << "seed " << seed << ": " << word;
    }
  }
}

// tiktoken's own rule: the neighbours whose joined bytes are the token of the lowest id, the first of them.
std::vector<int32_t> merge_by_bytes(const std::vector<std::string>& tokens, std::string_view word) {
  const auto id_of = [&](std::string_view bytes) { return std::find(tokens.begin(), tokens.end(), bytes) - tokens.begin(); };
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  while (true) {
    auto lowest = std::ssize(tokens);
    size_t best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      if (const auto id = id_of(parts[i] + parts[i + 1]); id < lowest) lowest = id, best = i;
    if (lowest == std::ssize(tokens)) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::vector<int32_t> ids;
  ids.reserve(parts.size());
  for (const auto& part : parts) ids.push_back(static_cast<int32_t>(id_of(part)));
  return ids;
}

// Ids in any order, as where a second vocabulary was put behind a first: parts may have higher ids than what they make.
TEST(Bpe, MergesAsTiktokenDoesWhateverTheOrderOfIds) {
  std::mt19937 random(11);
  for (unsigned round = 0; round < 40; ++round) {
    std::vector<std::string> tokens = random_vocabulary(round, size_t{20} + 2 * round).tokens;
    for (unsigned swaps = round % 4 == 0 ? 3 : round * 2; swaps > 0; --swaps)
      std::swap(tokens[256 + random() % (tokens.size() - 256)], tokens[256 + random() % (tokens.size() - 256)]);
    const BpeModel model(tokens, merges_by_bytes(tokens), false);
    for (int i = 0; i < 200; ++i) {
      std::string word;
      for (size_t length = i < 150 ? random() % 20 + 1 : random() % 30 + 55; length > 0; --length) word += "abc"[random() % 3];
      std::vector<int32_t> ids;
      model.encode(word, ids);
      ASSERT_EQ(ids, merge_by_bytes(tokens, word)) << "round " << round << ": " << word;
    }
  }
}

TEST(Bpe, AWordThatIsATokenIsNotMergedWhereTheFileSaysSo) {
  Vocabulary vocabulary = random_vocabulary(1, 0);
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"ab", "abc"});  // "abc" without a merge
  vocabulary.merges = {{'a', 'b', 256}};
  std::vector<int32_t> whole, merged;
  BpeModel(vocabulary.tokens, vocabulary.merges, true).encode("abc", whole);
  BpeModel(vocabulary.tokens, vocabulary.merges, false).encode("abc", merged);
  EXPECT_EQ(whole, (std::vector<int32_t>{257}));
  EXPECT_EQ(merged, (std::vector<int32_t>{256, 'c'}));
}

TEST(Bpe, RefusesAVocabularyThatLacksAByte) {
  Vocabulary vocabulary = random_vocabulary(1, 0);
  vocabulary.tokens[0xE4].clear();
  EXPECT_THROW(BpeModel(vocabulary.tokens, {}, false), Error);
}

// A megabyte of letters: what is looked through for each merge would take hours.
TEST(Bpe, AWordWithoutABreakCostsLittleMoreThanItsLength) {
  const Vocabulary vocabulary = random_vocabulary(3, 60);
  const BpeModel model(vocabulary.tokens, vocabulary.merges, false);
  std::string word(size_t{1} << 20, 'a');
  for (size_t i = 0; i < word.size(); i += 3) word[i] = 'b';
  std::vector<int32_t> ids;
  model.encode(word, ids);
  std::string back;
  for (const int32_t id : ids) back += vocabulary.tokens[static_cast<size_t>(id)];
  EXPECT_EQ(back, word);
}

TEST(WordCache, GivesBackWhatWasPutAndForgetsTheOldest) {
  using Cache = WordCache<15, 3, 1>;
  Cache cache;
  const std::string text = "one two three fourteen bytes", zeros("a\0b", 3);
  const auto key = [](const std::string& word, bool at_the_end) {
    const std::string in_text = word + "and more than sixteen bytes";
    return at_the_end ? Cache::key_of(word.data(), word.size(), word.data() + word.size())
                      : Cache::key_of(in_text.data(), word.size(), in_text.data() + in_text.size());
  };
  const std::vector<int32_t> ids{1, 2, 3};
  cache.put(key("one", false), ids.data(), 3);
  cache.put(key(zeros, false), ids.data(), 1);
  ASSERT_NE(cache.find(key("one", true)), nullptr);  // the same word, wherever it stands
  EXPECT_EQ(cache.find(key("one", true))->count, 3u);
  EXPECT_NE(cache.find(key(zeros, true)), nullptr);
  EXPECT_EQ(cache.find(key("a", true)), nullptr);
  EXPECT_EQ(cache.find(key(std::string("a\0b\0", 4), true)), nullptr);  // zeros at the end count
  cache.put(key("fifteen bytes x", false), ids.data(), 2);
  EXPECT_NE(cache.find(key("fifteen bytes x", true)), nullptr);
  EXPECT_EQ(cache.find(key("one", true)), nullptr);
}

}  // namespace
}  // namespace drover
