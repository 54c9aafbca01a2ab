// Samples of windows whose documents are packed: every token once, few documents cut, and what a batch says of the pieces.
#include "data/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "data/mixture.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

using Samples = std::vector<std::vector<DocumentPart>>;

// 4 samples of 10 tokens from token 100 on: documents of 7, 6, 3, 13, 4 and 7 that go on. 13 is cut into 10, which fills a sample, and 3. Then 7, 7
// and 6 begin samples, 4 fits whole beside 6, and the two threes beside the sevens.
TEST(Packing, ByHand) {
  const std::vector<int64_t> ends{107, 113, 116, 129, 133};
  const Samples expected{
      {{116, 10, false}}, {{100, 7, true}, {113, 3, true}}, {{126, 3, true}, {133, 7, false}}, {{107, 6, true}, {129, 4, true}}};
  EXPECT_EQ(pack(100, 4, 10, ends, 64), expected);
  const CutCount cut = count_cuts(100, 4, 10, ends, true, 64);
  EXPECT_EQ(cut.documents, 6);
  EXPECT_EQ(cut.packed, 2);      // that of 13, and the one that goes on
  EXPECT_EQ(cut.contiguous, 4);  // over 110, over 120, over 130, and the one that goes on
  EXPECT_EQ(count_cuts(100, 4, 10, ends, false, 64).packed, 3);
  EXPECT_EQ(cut.tokens, 40);
  EXPECT_EQ(cut.contiguous_padding, 0);
  const CutCount one = count_cuts(100, 4, 10, ends, true, 1);
  EXPECT_EQ(one.contiguous_padding, 3 + (3 + 4) + 1 + 7) << "what is behind the first piece of each sample";
}

// 2 samples of 10: documents of 7, 7 and 6. The last fits nowhere.
TEST(Packing, WhatFitsNowhereIsCutIntoTheHoles) {
  const Samples expected{{{0, 7, true}, {14, 3, false}}, {{7, 7, true}, {17, 3, true}}};
  EXPECT_EQ(pack(0, 2, 10, std::vector<int64_t>{7, 14, 20}, 64), expected);
}

// With one piece a sample, what is left still finds room.
TEST(Packing, MorePiecesThanAllowedOnlyWhereThereIsNoOtherRoom) {
  const Samples two = pack(0, 2, 10, std::vector<int64_t>{4, 8, 10, 12, 14, 20}, 2),
                one = pack(0, 2, 10, std::vector<int64_t>{6, 20}, 1);
  EXPECT_EQ(one, (Samples{{{6, 10, false}}, {{0, 6, true}, {16, 4, true}}}));
  const CutCount count = count_cuts(0, 2, 10, std::vector<int64_t>{6, 20}, true, 1);
  EXPECT_EQ(count.packed_padding, 4);
  EXPECT_EQ(count.contiguous_padding, 4);
  size_t pieces = 0;
  for (const std::vector<DocumentPart>& sample : two) pieces += sample.size();
  EXPECT_GE(pieces, 6u);
}

class PackedSamples : public ::testing::Test {
 protected:
  // Documents of 1 to 40 tokens and some longer than a sample, over three shards; each token tells its place.
  void make(int64_t tokens, unsigned seed) {
    std::mt19937 random(seed);
    ends_.clear();
    for (int64_t at = 0; at < tokens;)
      ends_.push_back(at = std::min<int64_t>(tokens, at + 1 + random() % (random() % 9 == 0 ? 150 : 40)));
    if (seed % 2 == 1) ends_.pop_back();  // a document goes on to the end
    fs::remove_all(scratch_.path / "data");
    fs::create_directories(scratch_.path / "data");
    for (int64_t shard = 0; shard < 3; ++shard) {
      const int64_t begin = tokens * shard / 3, end = tokens * (shard + 1) / 3;
      std::vector<int32_t> all;
      std::vector<uint64_t> ends;
      for (int64_t at = begin; at < end; ++at) all.push_back(static_cast<int32_t>(at));
      for (const int64_t at : ends_)
        if (at > begin && at <= end) ends.push_back(static_cast<uint64_t>(at - begin));
      write_shard(scratch_.path / "data" / (std::to_string(shard) + ".tokens"), all, ends, 10000);
    }
    mark_prepared(scratch_.path / "data");
  }
  bool is_end(int64_t token) const { return std::binary_search(ends_.begin(), ends_.end(), token); }

  Config config(int64_t sequence, int64_t window, int64_t pieces) const {
    Config config;
    config.model.vocab = 10000;
    config.train = {.steps = 1, .global_batch = 1, .sequence = sequence, .seed = 3};
    config.data.train = {(scratch_.path / "data").string()};
    config.data.packing = Packing::best_fit;
    config.data.packing_window = window;
    config.data.max_documents_per_sample = pieces;
    return config;
  }

  // One sample's row, against the places of documents alone.
  void check(const Batch& batch, int64_t sequence, int64_t most) const {
    const auto of = [&](const TensorView& view, int64_t i) { return view.as<int32_t>()[i]; };
    int64_t documents = 0;
    for (int64_t i = 0, begin = 0; i < sequence; ++i) {
      const int64_t token = of(batch.token, i);
      ASSERT_EQ(of(batch.target, i), token + 1);
      const bool begins = i == 0 || token != of(batch.token, i - 1) + 1 || is_end(token);
      documents += begins;
      if (begins && documents <= most) begin = i;
      ASSERT_EQ(of(batch.document_begin, i), begin) << i;
      ASSERT_EQ(of(batch.position, i), i - begin) << i;
      ASSERT_EQ(batch.weight.as<float>()[i], documents > most || is_end(token + 1) ? 0.0f : 1.0f) << i;
    }
  }

  Directory scratch_;
  std::vector<int64_t> ends_;
};

// An epoch in windows of several sizes, the last one short: each token is an input once.
TEST_F(PackedSamples, EveryTokenOfAnEpochOnce) {
  constexpr int64_t kTokens = 6007, kSequence = 32;
  for (const unsigned seed : {1u, 2u, 3u})
    for (const int64_t window : {1, 2, 7, 64, 500})
      for (const int64_t most : {1, 2, 3, 64}) {
        make(kTokens, seed);
        const Config config = this->config(kSequence, window, most);
        const Mixture mixture(config);
        Buffers buffers;
        const Batch batch = buffers.make(1, kSequence)[0];
        std::vector<int> seen(kTokens);
        const int64_t samples = (kTokens - 1) / kSequence;
        for (int64_t i = samples; i < 2 * samples; ++i) {  // the second epoch
          mixture.read(i, true, batch, 0, most);
          ASSERT_NO_FATAL_FAILURE(check(batch, kSequence, most)) << "sample " << i << " of windows of " << window;
          for (int64_t k = 0; k < kSequence; ++k) ++seen[static_cast<size_t>(batch.token.as<int32_t>()[k])];
        }
        for (int64_t token = 0; token < kTokens; ++token)
          ASSERT_EQ(seen[static_cast<size_t>(token)], token < samples * kSequence) << token << " in windows of " << window;
      }
}

// A sample is the same whichever were read before it, and on any rank.
TEST_F(PackedSamples, APureFunctionOfItsNumber) {
  make(6007, 5);
  const Mixture mixture(config(32, 4, 64)), again(config(32, 4, 64));
  Buffers buffers;
  const std::vector<Batch> batches = buffers.make(2, 32);
  for (int64_t i = 0; i < 300; ++i) mixture.read(i, true, batches[0], 0);
  for (const int64_t i : {299, 0, 17, 17, 150}) {
    mixture.read(i, true, batches[0], 0);
    again.read(i, true, batches[1], 0);
    for (int64_t k = 0; k < 32; ++k) ASSERT_EQ(batches[0].token.as<int32_t>()[k], batches[1].token.as<int32_t>()[k]) << i;
  }
}

// Within an epoch the sequence changes, twice: nothing comes again, nothing is left out.
TEST_F(PackedSamples, EveryTokenOnceWhereTheSequenceChanges) {
  for (const unsigned seed : {1u, 2u, 3u})
    for (const int64_t window : {1, 3, 8}) {
      make(6007, seed);
      Config config = this->config(32, window, 64);
      config.data.phases = {{.until_tokens = 1500}, {.until_tokens = 3100, .sequence = 64}, {.sequence = 16}};
      const Mixture mixture(config);
      Buffers buffers;
      const Batch batch = buffers.make(1, 64)[0];
      std::vector<int> seen(6007);
      const int64_t epoch = 6006 / (64 * window) * 64 * window;
      const SampleOrder& order = mixture.order();
      std::map<int64_t, int64_t> samples;  // by sequence
      for (int64_t i = 0; i < order.block_end(order.begin_of(2)); ++i) {
        const SampleOrder::Sample at = order.at(i);
        if (at.epoch > 0) continue;
        ++samples[at.sequence];
        mixture.read(i, true, batch, 0);
        ASSERT_NO_FATAL_FAILURE(check(batch, at.sequence, 64)) << i;
        for (int64_t k = 0; k < at.sequence; ++k) ++seen[static_cast<size_t>(batch.token.as<int32_t>()[k])];
      }
      EXPECT_EQ(samples.size(), 3u);
      for (int64_t token = 0; token < 6007; ++token)
        ASSERT_EQ(seen[static_cast<size_t>(token)], token < epoch ? 1 : 0) << token << " in windows of " << window;
    }
}

TEST_F(PackedSamples, ASourceSmallerThanAWindowOfSeveralSequencesIsRefused) {
  make(6007, 1);
  Config config = this->config(32, 100, 64);
  config.data.phases = {{.until_tokens = 1500}, {.sequence = 64}};
  const std::string message = error_of([&] { Mixture{config}; });
  expect_has(message, "data.train: the data in ");
  expect_has(message, "less than one sample of 6400 + 1; packed and in several sequences");
  expect_has(message, "a smaller window needs fewer tokens");
}

TEST_F(PackedSamples, FewerDocumentsAreCut) {
  make(6007, 6);
  const Config config = this->config(64, 16, 64);
  const Mixture mixture(config);
  const CutCount cut = mixture.source(0).count_cuts({64, 16, 64}, 16);
  // Counted from the batches: a document is cut where its pieces are several in the epoch's windows.
  Buffers buffers;
  const Batch batch = buffers.make(1, 64)[0];
  std::map<int64_t, int> pieces;  // by the document's end
  for (int64_t i = 0; i < 6006 / 64; ++i) {
    mixture.read(i, true, batch, 0);
    for (int64_t k = 0; k < 64; ++k)
      if (batch.document_begin.as<int32_t>()[k] == k)
        ++pieces[*std::upper_bound(ends_.begin(), ends_.end(), batch.token.as<int32_t>()[k])];
  }
  const int64_t borders = (6006 / 64 + 15) / 16;  // of windows; a document over one is counted in both
  const auto several = std::count_if(pieces.begin(), pieces.end(), [](const auto& each) { return each.second > 1; });
  EXPECT_LE(cut.packed - several, borders + 1);
  EXPECT_GE(cut.packed, several);
  EXPECT_LT(cut.packed, cut.contiguous / 2);
  expect_has(packing_table(config, mixture), "by best_fit: of " + std::to_string(cut.documents) + " documents");
}

TEST_F(PackedSamples, AnotherPackingIsAnotherPast) {
  make(6007, 7);
  Config config = this->config(32, 4, 64);
  const OrderSpec before = order_spec(config, {6007});
  EXPECT_TRUE(is_sound(before));
  EXPECT_TRUE(changed_past(before, before, 10).empty());
  config.data.packing_window = 8;
  EXPECT_EQ(changed_past(before, order_spec(config, {6007}), 10),
            (std::vector<std::string>{
                "data.packing: best_fit in windows of 4 samples of at most 64 documents -> best_fit in windows of 8 "
                "samples of at most 64 documents; samples that are read would hold other tokens"}));
  Config longer = this->config(32, 4, 64);  // a second sequence makes windows of what were samples
  longer.data.phases = {{.until_tokens = 1024}, {.sequence = 64}};
  const std::vector<std::string> blocks = changed_past(before, order_spec(longer, {6007}), 10);
  ASSERT_FALSE(blocks.empty());
  expect_has(blocks.front(), "source train: blocks of 32 tokens -> 256: packed documents are read by the longest sequence");
  config.data.packing = Packing::contiguous;
  EXPECT_EQ(changed_past(before, order_spec(config, {6007}), 10).size(), 1u);
  EXPECT_TRUE(changed_past(before, order_spec(config, {6007}), 0).empty());
  EXPECT_NE(Mixture(this->config(32, 4, 64)).order_text(), Mixture(this->config(32, 4, 63)).order_text());
}

}  // namespace
}  // namespace drover
