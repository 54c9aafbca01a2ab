// The loader's steps beside their definition: whose samples, in which order, with which weights.
#include <gtest/gtest.h>

#include <cstring>

#include "data/dataset.h"
#include "tests/data/corpus.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

constexpr int64_t kSequence = 6;

Loader::Options options(int dp_rank, int dp_size, bool shuffle) {
  return {.global_batch = 12,
          .micro_batch = 2,
          .sequence = kSequence,
          .seed = 9,
          .dp_rank = dp_rank,
          .dp_size = dp_size,
          .shuffle = shuffle};
}

// One step of one data-parallel rank against the definition.
void expect_step(const Corpus& corpus, const TokenDataset& dataset, const Loader::Options& o, const std::vector<Batch>& batches,
                 int64_t consumed) {
  const int64_t mine = o.global_batch / o.dp_size;
  ASSERT_EQ(static_cast<int64_t>(batches.size()), mine / o.micro_batch);
  for (int64_t slot = 0; slot < mine; ++slot) {
    const int64_t index = sample_at(o.seed, consumed + o.dp_rank * mine + slot, dataset.samples());
    expect_sample(corpus, index, kSequence, true, batches[static_cast<size_t>(slot / o.micro_batch)], slot % o.micro_batch);
  }
}

TEST(Loader, RanksTogetherReadTheOneSequence) {
  const Directory scratch;
  const Corpus corpus = write_corpus(scratch.path, 3, 60, 3);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  for (const int dp : {1, 2, 3, 6})
    for (int rank = 0; rank < dp; ++rank) {
      Buffers buffers;
      const Loader::Options o = options(rank, dp, true);
      Loader loader(dataset, o, buffers.make(2 * 12 / dp / 2, 2 * kSequence));
      for (int64_t step = 0; step < 3 * dataset.samples() / 12; ++step)
        expect_step(corpus, dataset, o, loader.next(12 * step), 12 * step);
    }
}

TEST(Loader, ATargetInARangeCountsAsItsWeightSays) {
  const Directory scratch;
  write_corpus(scratch.path, 3, 60, 3);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  Buffers buffers, plain_buffers;
  Loader::Options o = options(0, 1, true);
  Loader plain(dataset, o, plain_buffers.make(12, 2 * kSequence));
  const VocabularyRange codes{.name = "codes", .first = 100, .size = 90, .begin = 0, .end = 0};
  o.loss_weights = {{codes, 0.25f}};
  Loader weighted(dataset, o, buffers.make(12, 2 * kSequence));
  int64_t changed = 0;
  for (int64_t step = 0; step < 3; ++step) {  // the third fills buffers that were weighted before
    const auto expected = plain.next(12 * step), found = weighted.next(12 * step);
    for (size_t i = 0; i < found.size(); ++i)
      for (int64_t t = 0; t < 2 * kSequence; ++t) {
        const int32_t target = found[i].target.as<int32_t>()[t];
        const float before = expected[i].weight.as<float>()[t];
        ASSERT_EQ(target, expected[i].target.as<int32_t>()[t]);
        ASSERT_EQ(found[i].weight.as<float>()[t], target >= 100 && target < 190 ? 0.25f * before : before);
        changed += found[i].weight.as<float>()[t] != before ? 1 : 0;
      }
  }
  EXPECT_GT(changed, 0);
}

TEST(Loader, JumpsAnywhere) {
  const Directory scratch;
  const Corpus corpus = write_corpus(scratch.path, 4, 60, 2);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  Buffers buffers;
  const Loader::Options o = options(1, 2, true);
  Loader loader(dataset, o, buffers.make(6, 2 * kSequence));
  for (const int64_t consumed : {120, 0, 12, 24, 24, 36, 1000008, 5, 17, 29, 0})
    expect_step(corpus, dataset, o, loader.next(consumed), consumed);
}

TEST(Loader, StepStaysWhileTheNextIsRead) {
  const Directory scratch;
  const Corpus corpus = write_corpus(scratch.path, 4, 60, 2);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  Buffers buffers;
  const Loader::Options o = options(0, 1, true);
  const std::vector<Batch> memory = buffers.make(12, 2 * kSequence);
  Loader loader(dataset, o, memory);
  const auto batches = loader.next(0);
  for (int wait = 0; wait < 50; ++wait) {
    expect_step(corpus, dataset, o, batches, 0);
    usleep(1000);
  }
}

TEST(Loader, WaitsAndHasSomethingValidMeanwhile) {
  const Directory scratch;
  const Corpus corpus = write_corpus(scratch.path, 4, 60, 2);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  Buffers buffers;
  const Loader::Options o = options(0, 1, true);
  Loader loader(dataset, o, buffers.make(12, 2 * kSequence));
  for (const int64_t consumed : {24, 36, 0}) {  // the first, the next, a jump
    ASSERT_TRUE(loader.wait(consumed, 60));
    expect_step(corpus, dataset, o, loader.next(consumed), consumed);
    expect_step(corpus, dataset, o, loader.stale(), consumed);
    ASSERT_TRUE(loader.wait(consumed + 12, 60));
    EXPECT_FALSE(loader.reading());
    expect_step(corpus, dataset, o, loader.stale(), consumed);
  }
}

TEST(Loader, ValidationIsInOrderAndPadsWithWeightZero) {
  const Directory scratch;
  const Corpus corpus = write_corpus(scratch.path, 6, 15, 2);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  ASSERT_NE(dataset.samples() % 12, 0);
  for (int rank = 0; rank < 2; ++rank) {
    Buffers buffers;
    Loader loader(dataset, options(rank, 2, false), buffers.make(6, 2 * kSequence));
    for (int64_t consumed = 0; consumed < dataset.samples(); consumed += 12) {
      const auto batches = loader.next(consumed);
      for (int64_t slot = 0; slot < 6; ++slot) {
        const int64_t index = consumed + rank * 6 + slot;
        const Batch& batch = batches[static_cast<size_t>(slot / 2)];
        if (index < dataset.samples())
          expect_sample(corpus, index, kSequence, true, batch, slot % 2);
        else
          for (int64_t i = 0; i < kSequence; ++i) ASSERT_EQ(batch.weight.as<float>()[slot % 2 * kSequence + i], 0.0f);
      }
    }
  }
}

TEST(Loader, TellsOfBadTokens) {
  const Directory scratch;
  std::vector<int32_t> tokens(200, 5);
  tokens[150] = 300;
  write_shard(scratch.path / "a.tokens", tokens, {200}, 200);
  mark_prepared(scratch.path);
  const TokenDataset dataset({scratch.path.string()}, kSequence, 258);
  Buffers buffers;
  Loader loader(dataset, options(0, 1, false), buffers.make(12, 2 * kSequence));
  loader.next(0);
  const std::string message = error_of([&] { loader.next(12), loader.next(24); });
  expect_has(message, "a.tokens");
  expect_has(message, "token 300 at index 150 is outside model.vocab 258, and the shard's own vocabulary of 200");
  expect_has(message, "`drover data verify " + scratch.path.string() + "`");
  EXPECT_NO_THROW(loader.next(0)) << "a jump back is fine";
}

}  // namespace
}  // namespace drover
