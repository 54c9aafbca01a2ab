// Byte-pair encoding of words (bpe_merges.h says what it is), without merging them.
//
// A word's ids are found from the left, a whole token at a time: a row of tokens is what merging the word's bytes gives if and only if that is
// so of each token by itself and of each two neighbours. For merges on two sides of a border that none crosses do not know of each other: the
// order in which those of one token and the next take place is the same whatever lies beyond them, so a merge crosses the border in the word
// if and only if it does in the two alone. Each beginning of a word has one such row, so a border that led nowhere is never tried again.
// (The method of GitHub's library "bpe", rust-gems, 2024, which asks for ascending ranks; here they may be in any order, as Llama 3's are.)
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/bpe_merges.h"
#include "data/tokenizer/token_trie.h"
#include "kernels/base/huge_pages.h"

namespace drover {

class BpeModel {
 public:
  static constexpr size_t kMostTokens = size_t{1} << kTokenIdBits, kMostMerges = BpeMerges::kMost;

  // `tokens`: bytes by id, no two alike; those without bytes (gaps, special tokens) are never made. `merges`: by rank; of those of one pair the first counts.
  // `whole_words`: a word that is a token is that token, whatever the merges say. Throws Error(data) when a byte is no token, and for more tokens or merges than those.
  BpeModel(std::vector<std::string> tokens, const std::vector<BpeMerge>& merges, bool whole_words);

  // What a thread keeps from word to word.
  class Workspace {
    friend class BpeModel;
    struct Part {
      int32_t token;
      uint32_t begin;  // in the word
    };
    std::vector<Part> parts;
    std::vector<uint64_t> leads_nowhere;  // a bit a border of the word
    std::string two_tokens;
    std::vector<int32_t> ids;
  };

  // Appends the word's ids. Any bytes are a word; one without end costs O(n log n). REQUIRES: not empty.
  void encode(std::string_view word, Workspace& work, std::vector<int32_t>& ids) const;

 private:
  static constexpr size_t kLong = 4096;  // bytes of a word that is merged

  // All that is asked of a token, in half a cache line.
  struct Token {
    // The merge that makes it, unless it is a byte.
    uint64_t left : kTokenIdBits = 0, right : kTokenIdBits = 0, rank : 64 - 2 * kTokenIdBits = 0;
    // A partner_bit() of each token that is merged with it, on its right and on its left.
    uint64_t joined_after = 0, joined_before = 0;
    int32_t shorter = -1;       // the longest other token that it begins with
    uint32_t in_order : 1 = 1;  // the ranks of all merges of its bytes ascend
    uint32_t bytes : 31 = 0;
  };
  static_assert(sizeof(Token) == 32);
  static uint64_t partner_bit(int32_t token) { return uint64_t{1} << (static_cast<uint32_t>(token) * 0x9E3779B1u >> 26); }
  const Token& row(int32_t token) const { return rows_[static_cast<size_t>(token)]; }
  std::vector<bool> find_unmade();
  void search(std::string_view word, TokenTrie::Match first, Workspace& work) const;
  // Whether merging the bytes of both gives both.
  bool stay_apart(int32_t left, int32_t right, Workspace& work) const;
  bool stay_apart_in_order(int32_t left, int32_t right) const;

  std::vector<std::string> tokens_;
  BpeMerges merges_;
  std::vector<Token, HugePageAllocator<Token>> rows_;  // by id
  bool whole_words_;
  TokenTrie trie_;
};

}  // namespace drover
