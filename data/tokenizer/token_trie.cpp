#include "data/tokenizer/token_trie.h"

#include <algorithm>

namespace drover {

// Places nodes breadth first, so that those near the root lie together.
class TokenTrie::Builder {
 public:
  Builder(const std::vector<std::string>& tokens, const std::vector<bool>& only_whole)
      : tokens_(tokens), only_whole_(only_whole), shorter_(tokens.size(), -1) {
    for (size_t id = 0; id < tokens.size(); ++id)
      if (!tokens[id].empty()) sorted_.push_back(static_cast<int32_t>(id));
    std::sort(sorted_.begin(), sorted_.end(), [&](int32_t a, int32_t b) { return text(a) < text(b); });
  }

  // The root's base.
  uint32_t build() {
    grow(2 * kRow);
    base_taken_[0] = true;
    std::vector<Node> level{{.begin = 0, .end = sorted_.size()}}, next;
    uint32_t root = 0;
    for (bool first = true; !level.empty(); first = false, std::swap(level, next)) {
      next.clear();
      for (const Node& node : level) {
        const uint32_t base = place(node, next);
        if (first) root = base;
        if (!first) cells_[node.cell] |= static_cast<uint64_t>(base) << kBaseShift;
      }
    }
    return root;
  }
  std::vector<uint64_t, HugePageAllocator<uint64_t>> take_cells() {
    cells_.resize(used_ + kRow);  // any base plus any byte is inside
    return std::move(cells_);
  }
  std::vector<int32_t> take_shorter() { return std::move(shorter_); }

 private:
  static constexpr size_t kRow = 256;
  static constexpr size_t kReach = 1024;  // cells that are looked at for free ones
  struct Node {
    size_t begin, end;   // of sorted_: the tokens behind it
    size_t depth = 0;    // bytes read before it
    size_t cell = 0;     // its own
    int32_t token = -1;  // the longest that ends at it or before
  };
  std::string_view text(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  uint8_t byte_at(size_t place, size_t depth) const { return static_cast<uint8_t>(text(sorted_[place])[depth]); }

  // Where the node's children get cells; fills those in, and adds the children that have children to `next`.
  uint32_t place(const Node& node, std::vector<Node>& next) {
    std::vector<Node> children;
    std::vector<uint8_t> bytes;
    for (size_t begin = node.begin; begin < node.end;) {
      size_t end = begin + 1;
      while (end < node.end && byte_at(end, node.depth) == byte_at(begin, node.depth)) ++end;
      children.push_back({.begin = begin, .end = end, .depth = node.depth + 1, .token = node.token});
      bytes.push_back(byte_at(begin, node.depth));
      begin = end;
    }
    if (children.empty()) return 0;
    const size_t base = find_base(bytes);
    for (size_t i = 0; i < children.size(); ++i) {
      Node& child = children[i];
      child.cell = base + bytes[i];
      cells_[child.cell] = label(bytes[i]);
      if (const int32_t token = sorted_[child.begin]; text(token).size() == child.depth) {
        cells_[child.cell] |= static_cast<uint64_t>(token + 1) << kTokenShift;
        shorter_[static_cast<size_t>(token)] = child.token;
        if (!only_whole_[static_cast<size_t>(token)]) {
          cells_[child.cell] |= kFoundWithin;
          child.token = token;
        }
        ++child.begin;
      }
      if (child.begin < child.end) next.push_back(child);
    }
    return static_cast<uint32_t>(base);
  }
  size_t find_base(const std::vector<uint8_t>& bytes) {
    while (cells_[first_free_] != 0) grow(++first_free_ + 2 * kRow);
    size_t free = first_free_;
    for (; free < used_ && free < first_free_ + kReach; ++free)
      if (cells_[free] == 0 && fits(free - bytes[0], bytes)) return take(free - bytes[0], bytes);
    ++first_free_;  // what many had no use for is given up
    for (free = used_;; ++free)
      if (fits(free - bytes[0], bytes)) return take(free - bytes[0], bytes);
  }
  bool fits(size_t base, const std::vector<uint8_t>& bytes) {
    grow(base + 2 * kRow);
    return !base_taken_[base] && std::all_of(bytes.begin(), bytes.end(), [&](uint8_t byte) { return cells_[base + byte] == 0; });
  }
  size_t take(size_t base, const std::vector<uint8_t>& bytes) {
    base_taken_[base] = true;
    used_ = std::max(used_, base + bytes.back() + 1);
    return base;
  }
  void grow(size_t cells) {
    if (cells <= cells_.size()) return;
    cells_.resize(std::max(cells, cells_.size() * 2));
    base_taken_.resize(cells_.size());
  }

  const std::vector<std::string>& tokens_;
  const std::vector<bool>& only_whole_;
  std::vector<int32_t> sorted_, shorter_;
  std::vector<uint64_t, HugePageAllocator<uint64_t>> cells_;
  std::vector<bool> base_taken_;
  size_t first_free_ = kRow, used_ = kRow;  // the first row stays free
};

TokenTrie::TokenTrie(const std::vector<std::string>& tokens, const std::vector<bool>& only_whole) {
  Builder builder(tokens, only_whole);
  root_ = builder.build();
  cells_ = builder.take_cells();
  shorter_ = builder.take_shorter();
}

}  // namespace drover
