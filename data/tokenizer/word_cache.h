// Ids of words that came before: text repeats its words, and a look into one cache line is cheaper than merging. For one thread.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace drover {

// Words of at most kBytes (15, 31, ...) bytes and kIds ids, two to a set of the table; of a set, the one that came first makes room.
template <size_t kBytes, size_t kIds, size_t kSets> class WordCache {
 public:
  struct Key {
    std::array<uint64_t, (kBytes + 1) / 8> parts;
    bool operator==(const Key& other) const {  // in line: the default one calls memcmp
      uint64_t difference = 0;
      for (size_t i = 0; i < parts.size(); ++i) difference |= parts[i] ^ other.parts[i];
      return difference == 0;
    }
  };
  struct Entry {
    Key key{};  // of size 0: empty
    uint32_t count = 0;
    std::array<int32_t, kIds> ids{};
  };
  static constexpr size_t kMostBytes = kBytes;

  // Bytes up to `end` may be read. REQUIRES: 0 < size <= kBytes.
  static Key key_of(const char* word, size_t size, const char* end) {
    Key key;
    if (static_cast<size_t>(end - word) >
        kBytes) {  // whole, and what is too much is masked away: no call for a copy of unknown size
      std::memcpy(key.parts.data(), word, sizeof key.parts);
      for (size_t i = 0; i < key.parts.size(); ++i) {
        const size_t before = 8 * i;
        if (size <= before)
          key.parts[i] = 0;
        else if (size < before + 8)
          key.parts[i] &= (uint64_t{1} << (8 * (size - before))) - 1;
      }
    } else {
      key.parts = {};
      std::memcpy(key.parts.data(), word, size);
    }
    key.parts.back() |= static_cast<uint64_t>(size) << 56;  // the last byte is no word's
    return key;
  }
  const Entry* find(const Key& key) const {
    const Set& set = sets_[set_of(key)];
    for (const Entry& entry : set.entries)
      if (entry.key == key) return &entry;
    return nullptr;
  }
  void put(const Key& key, const int32_t* ids, size_t count) {
    if (count > kIds) return;
    Set& set = sets_[set_of(key)];
    set.entries[1] = set.entries[0];
    set.entries[0].key = key;
    set.entries[0].count = static_cast<uint32_t>(count);
    std::copy_n(ids, count, set.entries[0].ids.begin());
  }

 private:
  struct alignas(64) Set {
    std::array<Entry, 2> entries;
  };
  static size_t set_of(const Key& key) {
    uint64_t hash = 0;
    for (const uint64_t part : key.parts) hash = (hash ^ part) * 0x9E3779B97F4A7C15, hash ^= hash >> 29;
    return (hash * 0x9E3779B97F4A7C15 >> 32) % kSets;
  }
  std::vector<Set> sets_ = std::vector<Set>(kSets);
};

}  // namespace drover
