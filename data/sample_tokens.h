// The tokens of one sample out of shards that follow one another, and where documents begin in it. This is the loop that a loader's speed is.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/shard.h"

namespace drover {

// `begins`: index of each shard's first token in the sequence of them all, and the total. `shard`: where `start` lies.
struct SampleTokens {
  const std::vector<Shard>& shards;
  const std::vector<int64_t>& begins;
  size_t shard;
  int64_t start;

  // token[i] is token start + i, target[i] is token start + i + 1; both of one length S >= 1. REQUIRES: start + S is there.
  // Throws Error(data) naming shard and offset for a token >= vocab, and for what cannot be read.
  void read(int64_t vocab, std::span<int32_t> token, std::span<int32_t> target) const;
  // The i in [1, count] for which a document begins at token start + i, ascending.
  std::vector<int64_t> document_begins(int64_t count) const;
};

// position[i] = i - first, begin[i] = first and weight[i] = 1, for i from `first` to `end` - 1.
void write_document(int32_t first, int32_t end, int32_t* position, int32_t* begin, float* weight);

}  // namespace drover
