#include "data/tokenizer/bpe_merges.h"

#include <bit>
#include <queue>

namespace drover {

BpeMerges::BpeMerges(const std::vector<int32_t>& byte_ids, const std::vector<BpeMerge>& merges)
    : byte_ids_(byte_ids), byte_pairs_(size_t{256} * 256), filter_(kFilterBits / 64),
      pairs_(std::bit_ceil(2 * merges.size() + 2), kNoPair), pair_shift_(64 - std::countr_zero(pairs_.size())) {
  for (const BpeMerge& merge : merges) {
    if (!merge.same_rank) merged_.push_back(merge.merged);
    add_pair(merge, static_cast<uint32_t>(merged_.size() - 1));
  }
  for (size_t left = 0; left < 256; ++left)
    for (size_t right = 0; right < 256; ++right) byte_pairs_[left << 8 | right] = rank_of(byte_ids_[left], byte_ids_[right]);
}

void BpeMerges::add_pair(const BpeMerge& merge, uint32_t rank) {
  if (rank_of(merge.left, merge.right) != kNoRank) return;  // said twice: the first counts
  const uint64_t key = pair_key(merge.left, merge.right), hash = pair_hash(key);
  const uint64_t bit = hash % kFilterBits;
  filter_[bit / 64] |= uint64_t{1} << bit % 64;
  size_t at = hash >> pair_shift_;
  while (pairs_[at] != kNoPair) at = (at + 1) & (pairs_.size() - 1);
  pairs_[at] = key << kRankBits | rank;
}

void BpeMerges::merge(std::string_view word, std::vector<int32_t>& ids, std::vector<Join>* joins) const {
  word.size() <= kShort ? merge_short(word, ids, joins) : merge_long(word, ids, joins);
}

void BpeMerges::merge_short(std::string_view word, std::vector<int32_t>& ids, std::vector<Join>* joins) const {
  int32_t part[kShort];
  uint32_t rank[kShort];  // of each part with the next
  size_t parts = word.size();
  for (size_t i = 0; i < parts; ++i) part[i] = byte_ids_[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < parts; ++i) rank[i] = rank_of_bytes(word, i);
  rank[parts - 1] = kNoRank;
  while (parts > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < parts; ++i) best = rank[i] < rank[best] ? i : best;
    if (rank[best] == kNoRank) break;
    if (joins != nullptr) joins->push_back({rank[best], part[best], part[best + 1]});
    part[best] = merged_[rank[best]];
    --parts;
    for (size_t i = best + 1; i < parts; ++i) part[i] = part[i + 1], rank[i] = rank[i + 1];
    rank[best] = best + 1 < parts ? rank_of(part[best], part[best + 1]) : kNoRank;
    if (best > 0) rank[best - 1] = rank_of(part[best - 1], part[best]);
  }
  ids.insert(ids.end(), part, part + parts);
}

void BpeMerges::merge_long(std::string_view word, std::vector<int32_t>& ids, std::vector<Join>* joins) const {
  struct Part {
    int32_t id;
    uint32_t previous, next;  // places in `parts`
  };
  struct Candidate {
    uint32_t rank, place;
    int32_t left, right;  // ids when it was found: it is void when they have changed
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : place > other.place; }
  };
  constexpr uint32_t kNone = 0xFFFFFFFF;
  const auto size = static_cast<uint32_t>(word.size());
  std::vector<Part> parts(size);
  for (uint32_t i = 0; i < size; ++i)
    parts[i] = {byte_ids_[static_cast<uint8_t>(word[i])], i == 0 ? kNone : i - 1, i + 1 == size ? kNone : i + 1};
  const auto consider = [&](auto& candidates, uint32_t place) {
    const uint32_t next = parts[place].next;
    if (next == kNone) return;
    const uint32_t rank = rank_of(parts[place].id, parts[next].id);
    if (rank != kNoRank) candidates.push({rank, place, parts[place].id, parts[next].id});
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  for (uint32_t i = 0; i + 1 < size; ++i) consider(candidates, i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Part& left = parts[best.place];
    if (left.id != best.left || left.next == kNone || parts[left.next].id != best.right) continue;
    Part& right = parts[left.next];
    if (joins != nullptr) joins->push_back({best.rank, left.id, right.id});
    left.id = merged_[best.rank];
    right.id = -1;  // gone
    left.next = right.next;
    if (left.next != kNone) parts[left.next].previous = best.place;
    consider(candidates, best.place);
    if (left.previous != kNone) consider(candidates, left.previous);
  }
  for (uint32_t at = 0; at != kNone; at = parts[at].next) ids.push_back(parts[at].id);
}

}  // namespace drover
