#include "data/document_ends.h"

#include <algorithm>
#include <limits>

namespace drover {
namespace {

constexpr int64_t kShort = 8192, kSmallestBlock = 64, kMostBlocks = 4096;
constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

// Appends those of `all` in [from, last], and moves `from` behind them; true when one beyond `last` was met.
bool take(std::span<const uint64_t> all, uint64_t& from, uint64_t last, std::vector<uint64_t>& found) {
  for (auto end = std::lower_bound(all.begin(), all.end(), from); end != all.end(); ++end) {
    if (*end > last) return true;
    if (*end < from) continue;
    found.push_back(*end);
    from = *end + 1;
  }
  return false;
}

}  // namespace

DocumentEnds::DocumentEnds(const DataFile& file, int64_t offset, int64_t count)
    : file_(&file), offset_(offset), count_(count), block_(std::max(kSmallestBlock, (count + kMostBlocks - 1) / kMostBlocks)),
      blocks_((count + block_ - 1) / block_), kept_(std::make_unique<Kept>()) {
  if (count <= kShort) return;
  kept_->firsts = std::make_unique<std::atomic<uint64_t>[]>(static_cast<size_t>(blocks_));
  for (int64_t block = 0; block < blocks_; ++block) kept_->firsts[static_cast<size_t>(block)] = kUnknown;
}

std::vector<uint64_t> DocumentEnds::read(int64_t first, int64_t count) const {
  std::vector<uint64_t> ends(static_cast<size_t>(count));
  if (count > 0) file_->read_at(offset_ + 8 * first, ends.data(), 8 * ends.size());
  return ends;
}

uint64_t DocumentEnds::first_of(int64_t block) const {
  std::atomic<uint64_t>& kept = kept_->firsts[static_cast<size_t>(block)];
  uint64_t first = kept.load(std::memory_order_relaxed);
  if (first != kUnknown) return first;
  file_->read_at(offset_ + 8 * block * block_, &first, sizeof first);
  kept.store(first, std::memory_order_relaxed);
  return first;
}

std::vector<uint64_t> DocumentEnds::find(uint64_t from, uint64_t last) const {
  std::vector<uint64_t> found;
  if (count_ <= kShort) {
    std::call_once(kept_->once, [this] { kept_->all = read(0, count_); });
    take(kept_->all, from, last, found);
    return found;
  }
  int64_t low = 0, high = blocks_;  // blocks before `low` begin before `from`, those from `high` on do not
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (first_of(middle) < from)
      low = middle + 1;
    else
      high = middle;
  }
  for (int64_t block = std::max<int64_t>(0, low - 1); block < blocks_ && first_of(block) <= last; ++block)
    if (take(read(block * block_, std::min(block_, count_ - block * block_)), from, last, found)) break;
  return found;
}

}  // namespace drover
