// Several sources behind one loader: which tokens come, in which slots, and what is refused.
#include "data/mixture.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

class Mixtures : public ::testing::Test {
 protected:
  Mixtures() {
    source("web", 701, 0);
    source("code", 403, 100);
    config_.model.vocab = 258;
    config_.train.seed = 3;
    config_.train.steps = 20;
    config_.train.global_batch = 12;
    config_.train.sequence = 4;
    config_.data.sources["web"].weight = 0.7;
    config_.data.sources["code"].weight = 0.3;
  }

  // Every token tells its place: two of the same value lie 101 apart.
  void source(const std::string& name, int tokens, int first) {
    std::vector<int32_t> all(static_cast<size_t>(tokens));
    for (int i = 0; i < tokens; ++i) all[static_cast<size_t>(i)] = first + i % 101;
    fs::create_directories(scratch_.path / name);
    write_shard(scratch_.path / name / "a.tokens", all, {static_cast<uint64_t>(tokens)});
    mark_prepared(scratch_.path / name);
    config_.data.sources[name].path = {(scratch_.path / name).string()};
  }

  Loader::Options options(int rank, int ranks, int64_t sequence) const {
    return {.global_batch = 12, .micro_batch = 2, .sequence = sequence, .dp_rank = rank, .dp_size = ranks, .document_mask = false};
  }

  Directory scratch_;
  Config config_;
};

TEST_F(Mixtures, RanksTogetherReadTheOneOrder) {
  config_.data.phases = {{.until_tokens = 4 * 50, .sequence = 4}, {.sequence = 8, .weights = {{"web", 1}, {"code", 2}}}};
  config_.data.skip = {{.from_sample = 7, .to_sample = 15}, {.from_sample = 80, .to_sample = 90}};
  const Mixture mixture(config_);
  const SampleOrder& order = mixture.order();
  for (const int64_t sequence : {4, 8})
    for (const int ranks : {1, 2, 3})
      for (int rank = 0; rank < ranks; ++rank) {
        Buffers buffers, alone;
        Loader loader(mixture, options(rank, ranks, sequence), buffers.make(2 * 12 / ranks / 2, 2 * sequence));
        const Batch wanted = alone.make(1, sequence)[0];
        for (int64_t consumed = sequence == 4 ? 0 : 50, step = 0; step < 9; ++step) {
          const std::vector<Batch> batches = loader.next(consumed);
          const int64_t end = order.after_step(consumed, 12);
          for (int64_t slot = 0; slot < 12 / ranks; ++slot) {
            const Batch& batch = batches[static_cast<size_t>(slot / 2)];
            const int64_t sample = order.nth(consumed, rank * (12 / ranks) + slot), at = slot % 2 * sequence;
            if (sample >= end) {
              for (int64_t i = 0; i < sequence; ++i) ASSERT_EQ(batch.weight.as<float>()[at + i], 0.0f) << sample;
              continue;
            }
            ASSERT_FALSE((sample >= 7 && sample < 15) || (sample >= 80 && sample < 90));
            mixture.read(sample, false, wanted, 0);
            const SampleOrder::Sample place = order.at(sample);
            const int32_t first = place.source == 0 ? 100 : 0;  // code comes before web
            for (int64_t i = 0; i < sequence; ++i) {
              ASSERT_EQ(batch.token.as<int32_t>()[at + i], wanted.token.as<int32_t>()[i]);
              ASSERT_EQ(batch.token.as<int32_t>()[at + i], first + (place.token + i) % 101);
              ASSERT_EQ(batch.target.as<int32_t>()[at + i], first + (place.token + i + 1) % 101);
              ASSERT_EQ(batch.position.as<int32_t>()[at + i], i);
              ASSERT_EQ(batch.weight.as<float>()[at + i], 1.0f);
            }
          }
          if (sequence == 4 && end == 50) break;
          consumed = end;
        }
      }
}

// What is prefetched after the last step of a sequence fits the buffers: it is nothing.
TEST_F(Mixtures, NothingOfAnotherSequenceIsRead) {
  config_.data.phases = {{.until_tokens = 4 * 24, .sequence = 4}, {.sequence = 8}};
  const Mixture mixture(config_);
  Buffers buffers;
  Loader loader(mixture, options(0, 1, 4), buffers.make(12, 2 * 4));
  loader.next(12);
  for (const Batch& batch : loader.next(24))
    for (int64_t i = 0; i < 8; ++i) {
      ASSERT_EQ(batch.weight.as<float>()[i], 0.0f);
      ASSERT_EQ(batch.token.as<int32_t>()[i], 0);
    }
}

TEST_F(Mixtures, EpochsAreThoseOfTheRun) {
  const Mixture mixture(config_);
  const std::vector<double> epochs = mixture.epochs(240);
  EXPECT_NEAR(epochs[0] * 400 + epochs[1] * 700, 960, 1e-9) << "20 steps of 12 samples of 4 tokens; code, then web";
  EXPECT_NEAR(epochs[0], 0.72, 0.2);
  EXPECT_NO_THROW(require_epochs(config_, mixture));
  config_.data.sources["web"].max_epochs = 3;
  config_.data.sources["code"].max_epochs = 0.5;
  try {
    require_epochs(config_, mixture);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    expect_has(error.what(), "code 0.3 -> 0.");
    expect_has(error.what(), "epochs (at most 0.5), web 0.7 -> 0.");
    expect_has(error.what(), "the run of 20 steps");
  }
  config_.data.sources["code"].max_epochs = epochs[0];
  EXPECT_NO_THROW(require_epochs(config_, mixture)) << "exactly as often as allowed";
}

TEST_F(Mixtures, TheTableNamesPhasesSharesAndEpochs) {
  config_.data.phases = {{.until_tokens = 480, .weights = {{"web", 1}}}, {.until_tokens = 4800}, {.sequence = 8}};
  const std::string table = mixture_table(config_, Mixture(config_));
  expect_has(table, "data    1104 tokens, tokenizer bytes");
  expect_has(table, "phase 1    samples 0 to 119 of 4 tokens, 480 tokens: web 1 (0.");
  expect_has(table, "phase 2    samples 120 to 239 of 4 tokens, 480 tokens: code 0.3 (0.");
  expect_has(table, "phase 3    from sample 1200 on: the run of 240 samples ends before it");
}

TEST_F(Mixtures, HashesKnowNamesAndShards) {
  const uint64_t before = Mixture(config_).hash();
  EXPECT_EQ(Mixture(config_).hash(), before);
  std::swap(config_.data.sources["web"].path, config_.data.sources["code"].path);
  EXPECT_NE(Mixture(config_).hash(), before);
  const std::string order = Mixture(config_).order_text();
  config_.data.sources["web"].weight = 0.6;
  EXPECT_NE(Mixture(config_).order_text(), order);
  Config alone = config_;
  alone.data.train = alone.data.sources["web"].path;
  alone.data.sources.clear();
  EXPECT_EQ(Mixture(alone).hash(), TokenDataset(alone.data.train, 4, 258).hash()) << "as it was before mixtures";
}

TEST_F(Mixtures, EverySourceIsNamedThatCannotBeRead) {
  config_.data.sources["web"].path = {"/nowhere/web"};
  config_.data.sources["code"].path = {"/nowhere/code"};
  const std::string both = error_of([&] { Mixture mixture(config_); });
  expect_has(both, "data.sources.code: ");
  expect_has(both, "/nowhere/code");
  expect_has(both, "data.sources.web: ");
  source("web", 701, 0);
  source("code", 8, 0);
  config_.train.sequence = 8;
  expect_has(error_of([&] { Mixture mixture(config_); }), "has 8 tokens: less than one sample of 8 + 1");
  fs::remove_all(scratch_.path / "code");
  fs::create_directories(scratch_.path / "code");
  write_shard(scratch_.path / "code/a.tokens", std::vector<int32_t>(50, 1), {50}, 258, 2, 99);
  mark_prepared(scratch_.path / "code");
  expect_has(error_of([&] { Mixture mixture(config_); }),
             "data.sources.code was prepared with tokenizer bytes, data.sources.web with bytes");
}

}  // namespace
}  // namespace drover
