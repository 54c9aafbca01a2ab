// The document ends of a shard on disk, found without keeping them all: 8 bytes a document are too much memory for a large data set.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "data/data_file.h"

namespace drover {

class DocumentEnds {
 public:
  // `count` ends of 8 bytes, little-endian, ascending, at `offset`. REQUIRES: `file` outlives this.
  DocumentEnds(const DataFile& file, int64_t offset, int64_t count);

  int64_t count() const { return count_; }
  // Those in [from, last], ascending; where a damaged file is not, what is out of order is left out. From any thread. At most 8192 are read
  // at the first call and kept; of more, a call reads a block of 64 or of 1/4096 of them, the larger, and keeps where the blocks begin.
  std::vector<uint64_t> find(uint64_t from, uint64_t last) const;
  std::vector<uint64_t> read(int64_t first, int64_t count) const;

 private:
  struct Kept {
    std::once_flag once;
    std::vector<uint64_t> all;                        // of a short list
    std::unique_ptr<std::atomic<uint64_t>[]> firsts;  // of a long one: each block's first end, 2^64 - 1 until it is known
  };
  uint64_t first_of(int64_t block) const;
  const DataFile* file_;
  int64_t offset_, count_, block_, blocks_;  // block_: ends a block
  std::unique_ptr<Kept> kept_;
};

}  // namespace drover
