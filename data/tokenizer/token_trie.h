// The longest token that a text begins with: a trie over tokens' bytes, one lookup a byte.
//
// Stored as a double array (Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array Structure", 1989): the children of a node lie at
// its base plus their byte, between those of other nodes. No two nodes have one base, so a cell's own byte tells whose child it is.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/huge_pages.h"

namespace drover {

class TokenTrie {
 public:
  struct Match {
    int32_t token = -1;  // the longest that the text begins with; -1: none
    size_t bytes = 0;    // its
    int32_t whole = -1;  // the one that is the text, also of those that are found only whole; -1: none
  };
  // `tokens`: bytes by id, no two alike; those without bytes are no tokens. `only_whole`: by id. REQUIRES: ids below 1 << 21.
  TokenTrie(const std::vector<std::string>& tokens, const std::vector<bool>& only_whole);

  // REQUIRES: not empty.
  Match longest(std::string_view text) const {
    Match found;
    uint32_t base = root_;
    for (size_t i = 0;;) {
      const auto byte = static_cast<uint8_t>(text[i]);
      const uint64_t cell = cells_[base + byte];
      if ((cell & kLabel) != label(byte)) return found;
      ++i;
      if ((cell & kFoundWithin) != 0) found.token = token_of(cell), found.bytes = i;
      if (i == text.size()) {
        found.whole = token_of(cell);
        return found;
      }
      base = static_cast<uint32_t>(cell >> kBaseShift);
    }
  }
  // The longest token within a text that this one begins with, but itself; -1: none.
  int32_t shorter(int32_t token) const { return shorter_[static_cast<size_t>(token)]; }

 private:
  // A cell: whether it is taken, and its byte; the token that ends there, plus one; whether it is found within a text; the base of its
  // children (0: a row of free cells).
  static constexpr int kTokenShift = 9, kBaseShift = 32;
  static constexpr uint64_t kLabel = (1 << kTokenShift) - 1, kFoundWithin = uint64_t{1} << 31,
                            kTokenMask = (kFoundWithin >> kTokenShift) - 1;
  static constexpr uint64_t label(uint8_t byte) { return 1u | static_cast<uint64_t>(byte) << 1; }
  static int32_t token_of(uint64_t cell) { return static_cast<int32_t>(cell >> kTokenShift & kTokenMask) - 1; }
  class Builder;

  std::vector<uint64_t, HugePageAllocator<uint64_t>> cells_;
  std::vector<int32_t> shorter_;  // by token
  uint32_t root_ = 0;
};

}  // namespace drover
