#include "data/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
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

std::vector<int32_t> encode(const BpeModel& model, std::string_view word) {
  BpeModel::Workspace work;
  std::vector<int32_t> ids;
  model.encode(word, work, ids);
  return ids;
}
std::vector<int32_t> merge(const Vocabulary& vocabulary, std::string_view word) {
  std::vector<int32_t> bytes(256), ids;
  std::iota(bytes.begin(), bytes.end(), 0);
  BpeMerges(bytes, vocabulary.merges).merge(word, ids);
  return ids;
}
std::string random_word(std::mt19937& random, size_t length) {
  std::string word;
  for (; length > 0; --length) word += "aaabbcc\xC3\0"[random() % 9];
  return word;
}
// On both sides of the length where another method of merging begins.
size_t random_length(std::mt19937& random, int i) { return i < 150 ? random() % 20 + 1 : random() % 30 + 55; }

TEST(Bpe, MergesAsThePaperSays) {
  std::mt19937 random(7);
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const Vocabulary vocabulary = random_vocabulary(seed, 60);
    const BpeModel model(vocabulary.tokens, vocabulary.merges, false);
    for (int i = 0; i < 200; ++i) {
      const std::string word = random_word(random, random_length(random, i));
      const std::vector<int32_t> slowly = merge_slowly(vocabulary, word);
      ASSERT_EQ(merge(vocabulary, word), slowly) << "seed " << seed << ": " << word;
      ASSERT_EQ(encode(model, word), slowly) << "seed " << seed << ": " << word;
    }
  }
}

// As a file may list them: what makes a part may have a higher rank than what joins it, and is then tried first; some tokens are never made.
TEST(Bpe, MergesInWhateverOrderTheyAre) {
  std::mt19937 random(5);
  int never_made = 0;
  for (unsigned seed = 1; seed <= 30; ++seed) {
    Vocabulary vocabulary = random_vocabulary(seed, size_t{10} + seed);
    for (unsigned swaps = seed; swaps > 0; --swaps)
      std::swap(vocabulary.merges[random() % vocabulary.merges.size()], vocabulary.merges[random() % vocabulary.merges.size()]);
    const BpeModel model(vocabulary.tokens, vocabulary.merges, false);
    for (size_t id = 256; id < vocabulary.tokens.size(); ++id) {
      const std::vector<int32_t> slowly = merge_slowly(vocabulary, vocabulary.tokens[id]);
      never_made += slowly.size() > 1 ? 1 : 0;
      ASSERT_EQ(encode(model, vocabulary.tokens[id]), slowly) << "seed " << seed;
    }
    for (int i = 0; i < 200; ++i) {
      const std::string word = random_word(random, random_length(random, i));
      ASSERT_EQ(encode(model, word), merge_slowly(vocabulary, word)) << "seed " << seed << ": " << word;
    }
  }
  EXPECT_GT(never_made, 0);
}

TEST(Bpe, ALongWordIsMergedAsAShortOne) {
  const Vocabulary vocabulary = random_vocabulary(2, 60);
  const BpeModel model(vocabulary.tokens, vocabulary.merges, false);
  std::mt19937 random(3);
  for (const size_t length : {4000, 4096, 4097, 9000}) {
    const std::string word = random_word(random, length);
    EXPECT_EQ(encode(model, word), merge(vocabulary, word)) << length;
  }
}

TEST(TokenTrie, FindsTheLongestTokenAndTheNextShorter) {
  std::mt19937 random(9);
  for (const size_t count : {1, 40, 3000}) {
    std::vector<std::string> tokens{""};
    while (tokens.size() <= count) {
      const std::string token = random_word(random, random() % 9 + 1);
      if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    }
    std::vector<bool> only_whole(tokens.size());
    for (size_t id = 0; id < tokens.size(); id += 7) only_whole[id] = true;
    const TokenTrie trie(tokens, only_whole);
    const auto longest_below = [&](std::string_view text, size_t below) {
      int32_t longest = -1;
      for (size_t id = 1; id < tokens.size(); ++id)
        if (!only_whole[id] && tokens[id].size() < below && text.starts_with(tokens[id]) &&
            (longest < 0 || tokens[id].size() > tokens[static_cast<size_t>(longest)].size()))
          longest = static_cast<int32_t>(id);
      return longest;
    };
    for (int i = 0; i < 300; ++i) {
      const std::string text = i % 3 == 0 ? tokens[1 + random() % count] : random_word(random, random() % 12 + 1);
      const TokenTrie::Match match = trie.longest(text);
      ASSERT_EQ(match.token, longest_below(text, text.size() + 1)) << text;
      const auto whole = std::find(tokens.begin(), tokens.end(), text);
      ASSERT_EQ(match.whole, whole == tokens.end() ? -1 : whole - tokens.begin()) << text;
      if (match.token < 0) continue;
      ASSERT_EQ(match.bytes, tokens[static_cast<size_t>(match.token)].size());
      ASSERT_EQ(trie.shorter(match.token), longest_below(text, match.bytes)) << text;
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
      ASSERT_EQ(encode(model, word), merge_by_bytes(tokens, word)) << "round " << round << ": " << word;
    }
  }
}

TEST(Bpe, AWordThatIsATokenIsNotMergedWhereTheFileSaysSo) {
  Vocabulary vocabulary = random_vocabulary(1, 0);
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"ab", "abc"});  // "abc" without a merge
  vocabulary.merges = {{'a', 'b', 256}};
  const BpeModel whole(vocabulary.tokens, vocabulary.merges, true), merged(vocabulary.tokens, vocabulary.merges, false);
  EXPECT_EQ(encode(whole, "abc"), (std::vector<int32_t>{257}));
  EXPECT_EQ(encode(whole, "abcc"), (std::vector<int32_t>{256, 'c', 'c'}));
  EXPECT_EQ(encode(merged, "abc"), (std::vector<int32_t>{256, 'c'}));
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
  std::string back;
  for (const int32_t id : encode(model, word)) back += vocabulary.tokens[static_cast<size_t>(id)];
  EXPECT_EQ(back, word);
}

TEST(WordCache, GivesBackWhatWasPutAndForgetsTheOldest) {
  using Cache = WordCache<15, 1>;
  Cache cache;
  const std::string text = "one two three fourteen bytes", zeros("a\0b", 3);
  const auto key = [](const std::string& word, bool at_the_end) {
    const std::string in_text = word + "and more than sixteen bytes";
    return at_the_end ? Cache::key_of(word.data(), word.size(), word.data() + word.size())
                      : Cache::key_of(in_text.data(), word.size(), in_text.data() + in_text.size());
  };
  const std::vector<int32_t> ids{1, 0, (1 << 21) - 1, 4, 5, 6};
  ASSERT_EQ(cache.place_of(key("one", false)), 0u);  // the only set
  const auto found = [&](const std::string& word) {
    std::array<int32_t, Cache::kMostIds> all{};
    const Cache::Entry* entry = cache.find(key(word, true), 0);  // the same word, wherever it stands
    return entry == nullptr ? std::vector<int32_t>{-1} : std::vector<int32_t>(all.data(), entry->copy(all.data()));
  };
  const std::vector<int32_t> none{-1};
  cache.put(key("one", false), 0, ids.data(), 5);
  cache.put(key(zeros, false), 0, ids.data(), 1);
  EXPECT_EQ(found("one"), (std::vector<int32_t>{1, 0, (1 << 21) - 1, 4, 5}));
  EXPECT_EQ(found(zeros), (std::vector<int32_t>{1}));
  EXPECT_EQ(found("a"), none);
  EXPECT_EQ(found(std::string("a\0b\0", 4)), none);  // zeros at the end count
  cache.put(key("more than five", false), 0, ids.data(), 6);
  EXPECT_EQ(found("more than five"), none);
  cache.put(key("fifteen bytes x", false), 0, ids.data(), 2);
  EXPECT_EQ(found("fifteen bytes x"), (std::vector<int32_t>{1, 0}));
  EXPECT_EQ(found("one"), none);
}

}  // namespace
}  // namespace drover
