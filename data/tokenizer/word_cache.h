// Ids of words that came before: text repeats its words, and a look into one cache line is cheaper than merging. For one thread.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/base/huge_pages.h"

namespace drover {

// Words of at most kBytes (15, 31, ...) bytes and kMostIds ids, two to a set of the table; of a set, the one that came first makes room.
// Ids are below 1 << 21.
template <size_t kBytes, size_t kSets> class WordCache {
  static constexpr size_t kParts = (kBytes + 1) / 8;

 public:
  static constexpr size_t kMostBytes = kBytes, kMostIds = 3 * kParts - 1;

  struct Key {
    std::array<uint64_t, kParts> parts;
    bool operator==(const Key& other) const {  // in line: the default one calls memcmp
      uint64_t difference = 0;
      for (size_t i = 0; i < parts.size(); ++i) difference |= parts[i] ^ other.parts[i];
      return difference == 0;
    }
  };
  class Entry {
   public:
    // Writes kMostIds, whatever the count: no loop of unknown length. Returns where the word's end.
    int32_t* copy(int32_t* to) const {
      for (size_t i = 0; i < kMostIds; ++i) to[i] = static_cast<int32_t>(ids_[i / 3] >> i % 3 * kIdBits & kId);
      return to + (ids_.back() >> 2 * kIdBits);
    }

   private:
    friend class WordCache;
    static constexpr int kIdBits = 21;
    static constexpr uint64_t kId = (uint64_t{1} << kIdBits) - 1;
    Key key_{};                           // of size 0: empty
    std::array<uint64_t, kParts> ids_{};  // three in each; behind the last two the count
  };

  // Bytes up to `end` may be read. REQUIRES: 0 < size <= kBytes.
  static Key key_of(const char* word, size_t size, const char* end) {
    Key key{};
    if (static_cast<size_t>(end - word) > kBytes) {  // whole, and what is too much is masked away: no copy of unknown size
      std::memcpy(key.parts.data(), word, sizeof key.parts);
      for (size_t i = 0; i < key.parts.size(); ++i) key.parts[i] &= kMasks[size % kMasks.size()][i];
    } else {
      std::memcpy(key.parts.data(), word, size);
    }
    key.parts.back() |= static_cast<uint64_t>(size) << 56;  // the last byte is no word's
    return key;
  }
  // Where a key would be, and its cache line asked for.
  size_t place_of(const Key& key) const {
    uint64_t hash = 0;  // the products do not wait for each other, and the upper bits of each depend on all of its part
    for (size_t i = 0; i < key.parts.size(); ++i) hash ^= key.parts[i] * (0x9E3779B97F4A7C15 + 2 * i * 0xD1B54A32D192ED03);
    const size_t place = (hash >> 32) * kSets >> 32;
    __builtin_prefetch(&sets_[place]);
    return place;
  }
  // Null: not there. REQUIRES: place_of(key).
  const Entry* find(const Key& key, size_t place) const {
    for (const Entry& entry : sets_[place].entries)
      if (entry.key_ == key) return &entry;
    return nullptr;
  }
  void put(const Key& key, size_t place, const int32_t* ids, size_t count) {
    if (count > kMostIds) return;
    Set& set = sets_[place];
    set.entries[1] = set.entries[0];
    Entry& entry = set.entries[0];
    entry.key_ = key;
    entry.ids_ = {};
    entry.ids_.back() = static_cast<uint64_t>(count) << 2 * Entry::kIdBits;
    for (size_t i = 0; i < count; ++i) entry.ids_[i / 3] |= static_cast<uint64_t>(ids[i]) << i % 3 * Entry::kIdBits;
  }

 private:
  using Masks = std::array<std::array<uint64_t, kParts>, kBytes + 1>;
  static constexpr Masks kMasks = [] {  // by size: its bytes, little-endian
    Masks masks{};
    for (size_t size = 0; size <= kBytes; ++size)
      for (size_t byte = 0; byte < size; ++byte) masks[size][byte / 8] |= uint64_t{0xFF} << (8 * (byte % 8));
    return masks;
  }();
  struct alignas(64) Set {
    std::array<Entry, 2> entries;
  };
  std::vector<Set, HugePageAllocator<Set>> sets_ = std::vector<Set, HugePageAllocator<Set>>(kSets);
};

}  // namespace drover
