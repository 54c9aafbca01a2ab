// Shards of random documents, and what samples of them must be.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/data/testing.h"

namespace drover::data_testing {

// Tokens and the indices at which documents begin, over all shards.
struct Corpus {
  std::vector<int32_t> tokens;
  std::set<int64_t> begins;
};

// `documents` of random length over `shards` shards whose borders fall anywhere.
inline Corpus write_corpus(const fs::path& directory, uint64_t seed, int documents, int shards, uint32_t width = 2) {
  std::mt19937_64 random(seed);
  Corpus corpus;
  std::vector<int64_t> ends;
  for (int d = 0; d < documents; ++d) {
    corpus.begins.insert(static_cast<int64_t>(corpus.tokens.size()));
    for (int64_t i = static_cast<int64_t>(random() % 23) + 1; i > 0; --i)
      corpus.tokens.push_back(static_cast<int32_t>(random() % 258));
    ends.push_back(static_cast<int64_t>(corpus.tokens.size()));
  }
  std::vector<int64_t> cuts = {0, static_cast<int64_t>(corpus.tokens.size())};
  while (static_cast<int>(cuts.size()) <= shards) cuts.push_back(static_cast<int64_t>(random() % corpus.tokens.size()));
  if (shards > 2) cuts.back() = ends[ends.size() / 2];  // one border at the end of a document
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  fs::create_directories(directory);
  for (size_t s = 0; s + 1 < cuts.size(); ++s) {
    std::vector<uint64_t> local;
    for (const int64_t end : ends)
      if (end > cuts[s] && end <= cuts[s + 1]) local.push_back(static_cast<uint64_t>(end - cuts[s]));
    write_shard(directory / ("shard_0000" + std::to_string(s) + ".tokens"),
                {corpus.tokens.begin() + cuts[s], corpus.tokens.begin() + cuts[s + 1]}, local, 258, width);
  }
  mark_prepared(directory);
  return corpus;
}

// `most` documents, where that many are not enough: begins further on do not count, and targets do not either.
inline void expect_sample(const Corpus& corpus, int64_t index, int64_t sequence, bool mask, const Batch& batch, int64_t row,
                          int64_t most = std::numeric_limits<int64_t>::max()) {
  const int64_t start = index * sequence;
  int64_t end = sequence;
  for (int64_t i = 1, documents = 1; mask && i < end; ++i)
    if (corpus.begins.contains(start + i) && ++documents > most) end = i;
  for (int64_t i = 0; i < sequence; ++i) {
    const int64_t at = row * sequence + i;
    int64_t begin = 0;
    for (int64_t back = i; mask && back > 0; --back)
      if (back < end && corpus.begins.contains(start + back)) {
        begin = back;
        break;
      }
    ASSERT_EQ(batch.token.as<int32_t>()[at], corpus.tokens[static_cast<size_t>(start + i)]) << index << " " << i;
    ASSERT_EQ(batch.target.as<int32_t>()[at], corpus.tokens[static_cast<size_t>(start + i + 1)]) << index << " " << i;
    ASSERT_EQ(batch.document_begin.as<int32_t>()[at], begin) << index << " " << i;
    ASSERT_EQ(batch.position.as<int32_t>()[at], i - begin) << index << " " << i;
    const bool counts = i < end && !(mask && corpus.begins.contains(start + i + 1));
    ASSERT_EQ(batch.weight.as<float>()[at], counts ? 1.0f : 0.0f) << index << " " << i;
  }
}

}  // namespace drover::data_testing
