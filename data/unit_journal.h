// How far a unit has come: a line for each finished shard, synced before the next shard begins. A prepare that was killed goes on from there.
#pragma once
#include <array>
#include <filesystem>
#include <functional>

#include "data/encode.h"
#include "data/shard_set.h"
#include "kernels/base/files.h"

namespace drover {

// Of the pieces before a place.
struct UnitTally {
  BadRecords bad;
  int64_t duplicates = 0;
};

class UnitJournal {
 public:
  // Reads `path` where it exists. Of a part whose shard `sound(part, shard, place)` denies, that one and the later ones count as not there; the same
  // for what stands behind a line that was not finished.
  using Sound = std::function<bool(size_t part, int shard, const ShardPlace& place)>;
  UnitJournal(const std::filesystem::path& path, const Sound& sound);

  const ShardPlace& place(size_t part) const { return places_[part]; }
  const UnitTally& tally(size_t part) const { return tallies_[part]; }
  void add(size_t part, const ShardPlace& place, const UnitTally& tally);

 private:
  std::array<ShardPlace, kParts> places_;
  std::array<UnitTally, kParts> tallies_;
  int64_t end_ = 0;  // of the file
  File file_;
};

}  // namespace drover
