// Merges of byte-pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016, over bytes as in GPT-2): a
// word begins as its bytes; of all neighbours that a merge joins, the pair of the lowest rank is joined, the leftmost first, until none is left.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace drover {

struct BpeMerge {
  int32_t left, right, merged;  // ids
  bool same_rank = false;       // as the merge before it, which makes the same token of other parts
};

constexpr int kTokenIdBits = 21;

class BpeMerges {
 public:
  static constexpr size_t kMost = size_t{1} << 22;

  // `byte_ids`: the ids of the 256 bytes. `merges`: by rank; of those of one pair the first counts. REQUIRES: at most kMost merges, ids below
  // 1 << kTokenIdBits.
  BpeMerges(const std::vector<int32_t>& byte_ids, const std::vector<BpeMerge>& merges);

  struct Join {
    uint32_t rank;
    int32_t left, right;  // ids
  };
  // Appends the word's ids, by the definition above, and to `joins` what was joined, in that order. A word without end costs O(n log n).
  // REQUIRES: not empty.
  void merge(std::string_view word, std::vector<int32_t>& ids, std::vector<Join>* joins = nullptr) const;

  static constexpr uint32_t kNoRank = 0xFFFFFFFF;
  // Rank of the merge of two neighbours; kNoRank: there is none. REQUIRES: ids, not -1.
  uint32_t rank_of(int32_t left, int32_t right) const {
    const uint64_t key = pair_key(left, right), hash = pair_hash(key);
    const uint64_t bit = hash % kFilterBits;
    if ((filter_[bit / 64] >> bit % 64 & 1) == 0) return kNoRank;
    for (size_t at = hash >> pair_shift_;; at = (at + 1) & (pairs_.size() - 1)) {
      if (pairs_[at] >> kRankBits == key) return pairs_[at] & ((1 << kRankBits) - 1);
      if (pairs_[at] == kNoPair) return kNoRank;
    }
  }

 private:
  static constexpr uint64_t kNoPair = 0xFFFFFFFFFFFFFFFF;
  static constexpr int kRankBits = 22;
  static constexpr size_t kShort = 64;            // bytes of a word whose pairs are looked through for each merge
  static constexpr size_t kFilterBits = 1 << 21;  // 256 KiB: most pairs are no merge, and that is known without leaving the cache

  static uint64_t pair_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << kTokenIdBits | static_cast<uint32_t>(right);
  }
  static uint64_t pair_hash(uint64_t key) { return (key ^ key >> kTokenIdBits) * 0x9E3779B97F4A7C15; }
  void add_pair(const BpeMerge& merge, uint32_t rank);
  void merge_short(std::string_view word, std::vector<int32_t>& ids, std::vector<Join>* joins) const;
  void merge_long(std::string_view word, std::vector<int32_t>& ids, std::vector<Join>* joins) const;
  uint32_t rank_of_bytes(std::string_view word, size_t at) const {
    return byte_pairs_[static_cast<size_t>(static_cast<uint8_t>(word[at])) << 8 | static_cast<uint8_t>(word[at + 1])];
  }

  std::vector<int32_t> byte_ids_;     // 256
  std::vector<uint32_t> byte_pairs_;  // [256][256]: ranks without a search
  std::vector<int32_t> merged_;       // by rank
  std::vector<uint64_t> filter_;      // bits of pairs' hashes: clear where no merge has it
  std::vector<uint64_t> pairs_;       // left, right and rank of all merges in an open hash table: a power of two, at most half full
  int pair_shift_ = 0;
};
}  // namespace drover
