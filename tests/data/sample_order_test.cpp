// The order of samples against one that is made by going through it, draw by draw, and against what an order must be.
#include "data/sample_order.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "data/dataset.h"
#include "kernels/base/hash.h"
#include "kernels/base/philox.h"

namespace drover {
namespace {

using Phases = std::vector<PhaseConfig>;

Config config_of(const std::vector<std::string>& names, const Phases& phases, int64_t sequence = 4) {
  Config config;
  config.train.seed = 7;
  config.train.sequence = sequence;
  for (const std::string& name : names) config.data.sources[name] = {.path = {name}};
  config.data.phases = phases;
  return config;
}

// One value a draw, of the source whose share holds it; a source's samples come in the order of its draws, its blocks in that of their epoch.
class Walked {
 public:
  explicit Walked(const OrderSpec& spec) : spec_(spec), read_(spec.sources.size()) {}

  struct Sample {
    size_t source;
    int64_t token;
  };
  std::vector<Sample> phase(size_t p, int64_t begin, int64_t end) {
    const OrderPhase& phase = spec_.phases[p];
    int64_t unit = phase.sequence, sources = 0;
    for (size_t s = 0; s < phase.shares.size(); ++s)
      if (phase.shares[s] > 0) unit = std::lcm(unit, spec_.sources[s].block), ++sources;
    const int64_t parts = unit / phase.sequence, draws = (end - begin) / parts, most = draws_of_a_block(spec_, p);
    const uint64_t seed = xxh3(fmt::format("{} phase {}", spec_.seed, p));
    std::vector<Sample> all;
    for (int64_t block = 0; block * most < draws; ++block) {
      const int64_t here = std::min(most, draws - block * most);
      std::vector<Sample> drawn;
      for (const size_t source : sources_of_draws(phase, block, here, most))
        for (int64_t part = 0; part < parts; ++part) drawn.push_back({source, next(source, phase.sequence)});
      for (size_t i = 0; i < drawn.size(); ++i)
        all.push_back(drawn[sources == 1 && parts == 1 ? i : permutation(seed, static_cast<uint64_t>(block), drawn.size(), i)]);
    }
    return all;
  }

  // 4096, fewer by the power of two in the window's size where a source of the phase is packed in several sequences.
  static int64_t draws_of_a_block(const OrderSpec& spec, size_t p) {
    int64_t draws = 4096;
    for (size_t s = 0; s < spec.sources.size(); ++s) {
      std::set<int64_t> sequences;
      for (const OrderPhase& phase : spec.phases)
        if (phase.shares[s] > 0) sequences.insert(phase.sequence);
      if (spec.window == 0 || spec.phases[p].shares[s] == 0 || sequences.size() < 2) continue;
      draws = 4096;
      for (int64_t w = spec.window; w > 1 && draws > 1; w /= 2) draws /= 2;
    }
    return draws;
  }

 private:
  static std::vector<size_t> sources_of_draws(const OrderPhase& phase, int64_t block, int64_t here, int64_t most) {
    int64_t reversed = 0, spacing = (int64_t{1} << 32) / most;
    for (int64_t bit = 1; bit < spacing; bit *= 2) reversed = 2 * reversed + (block / bit) % 2;
    std::vector<size_t> sources;
    for (int64_t q = 0; q < here; ++q) {
      const double value = static_cast<double>(q * spacing + reversed) * static_cast<double>(most) / static_cast<double>(here);
      size_t source = 0;
      for (double end = static_cast<double>(phase.shares[0]); value >= end; end += static_cast<double>(phase.shares[source]))
        ++source;
      sources.push_back(source);
    }
    return sources;
  }
  int64_t next(size_t source, int64_t sequence) {
    const OrderSource& from = spec_.sources[source];
    const int64_t at = read_[source], blocks = (from.tokens - 1) / from.block, epoch = at / (blocks * from.block);
    read_[source] += sequence;
    const int64_t block = at / from.block - epoch * blocks;
    return static_cast<int64_t>(
               permutation(from.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(blocks), static_cast<uint64_t>(block))) *
               from.block +
           at % from.block;
  }

  const OrderSpec& spec_;
  std::vector<int64_t> read_;
};

// Every sample, of the last phase those of three blocks of draws; how often each token was read may differ by one between any two of a source, at each end.
void expect_order(const OrderSpec& spec) {
  const SampleOrder order(spec);
  Walked walked(spec);
  std::vector<std::vector<int>> reads;
  for (const OrderSource& source : spec.sources)
    reads.emplace_back(source.block == 0 ? 0 : (source.tokens - 1) / source.block * source.block);
  std::vector<int64_t> tokens(spec.sources.size());
  for (size_t p = 0; p < spec.phases.size(); ++p) {
    const int64_t begin = order.begin_of(static_cast<int>(p)),
                  parts = order.block_samples(static_cast<int>(p)) / Walked::draws_of_a_block(spec, p),
                  end = std::min(spec.phases[p].end, begin + 3 * Walked::draws_of_a_block(spec, p) * parts);
    const std::vector<Walked::Sample> all = walked.phase(p, begin, end);
    for (int64_t i = begin; i < end; ++i) {
      const SampleOrder::Sample sample = order.at(i);
      const Walked::Sample& wanted = all[static_cast<size_t>(i - begin)];
      ASSERT_EQ(sample.source, static_cast<int>(wanted.source)) << "sample " << i << " of phase " << p + 1;
      ASSERT_EQ(sample.token, wanted.token) << "sample " << i << " of phase " << p + 1;
      ASSERT_EQ(sample.sequence, spec.phases[p].sequence);
      tokens[wanted.source] += sample.sequence;
      for (int64_t t = 0; t < sample.sequence; ++t) ++reads[wanted.source].at(static_cast<size_t>(sample.token + t));
    }
    ASSERT_EQ(order.consumed(end), tokens) << "phase " << p + 1;
    for (const std::vector<int>& source : reads) {
      if (source.empty()) continue;
      const auto [least, most] = std::minmax_element(source.begin(), source.end());
      ASSERT_LE(*most - *least, 1) << "repeated or skipped within an epoch, at the end of phase " << p + 1;
    }
  }
}

TEST(SampleOrder, EveryTokenOnceAnEpochThroughAllPhases) {
  const std::vector<Phases> cases = {
      {{.sequence = 4}},
      {{.weights = {{"a", 0.7}, {"b", 0.3}}}},
      {{.until_tokens = 500, .sequence = 2, .weights = {{"a", 1}}}, {.sequence = 8}},
      {{.until_tokens = 3000, .sequence = 4, .weights = {{"a", 0.9}, {"b", 0.1}}},
       {.until_tokens = 9000, .sequence = 8, .weights = {{"a", 0.2}, {"b", 0.8}}},
       {.until_tokens = 9001, .sequence = 2, .weights = {{"b", 1}}},
       {.sequence = 4, .weights = {{"a", 1}, {"c", 3}}}},
      {{.until_tokens = 40000, .sequence = 2, .weights = {{"a", 1}, {"b", 1}, {"c", 1}}},
       {.until_tokens = 90000, .sequence = 6, .weights = {{"a", 1e-3}, {"b", 1}}},
       {.sequence = 4, .weights = {{"c", 1}, {"a", 0}}}},
  };
  for (const Phases& phases : cases)
    for (const std::vector<int64_t>& tokens : {std::vector<int64_t>{9, 17, 33}, {1000, 100, 97}, {50001, 20000, 9}}) {
      const OrderSpec spec = order_spec(config_of({"a", "b", "c"}, phases), tokens);
      EXPECT_TRUE(is_sound(spec));
      expect_order(spec);
    }
  for (const Phases& phases : cases)
    for (const int64_t window : {1, 5, 64, 5000}) {
      Config config = config_of({"a", "b", "c"}, phases);
      config.data.packing = Packing::best_fit;
      config.data.packing_window = window;
      const OrderSpec spec = order_spec(config, {90001, 50000, 45678});
      EXPECT_TRUE(is_sound(spec));
      expect_order(spec);
    }
}

TEST(SampleOrder, OneSourceIsTheOrderOfBefore) {
  Config config;
  config.train.seed = 5;
  config.train.sequence = 16;
  config.data.train = {"data"};
  const SampleOrder order(order_spec(config, {16 * 1000 + 9}));
  for (const int64_t i : {0, 1, 999, 1000, 5000, 123456789}) EXPECT_EQ(order.at(i).token, 16 * sample_at(5, i, 1000)) << i;
  config.data.train.clear();
  config.data.sources["train"] = {.path = {"data"}};
  EXPECT_EQ(order_spec(config, {16 * 1000 + 9}), order.spec()) << "other sources can be put beside it";
}

TEST(SampleOrder, AnotherSourceChangesNoOther) {
  const auto read = [](const std::vector<std::string>& names, const std::string& name) {
    const OrderSpec spec = order_spec(config_of(names, {}), std::vector<int64_t>(names.size(), 4001));
    const SampleOrder order(spec);
    std::set<int64_t> tokens;  // of half of the first epoch
    for (int64_t i = 0; i < 4096; ++i) {
      const SampleOrder::Sample sample = order.at(i);
      if (spec.sources[static_cast<size_t>(sample.source)].name == name && sample.epoch == 0 && tokens.size() < 500)
        tokens.insert(sample.token);
    }
    return tokens;
  };
  const OrderSpec two = order_spec(config_of({"a", "b"}, {}), {4001, 4001}),
                  three = order_spec(config_of({"a", "b", "x"}, {}), {4001, 4001, 77});
  EXPECT_EQ(two.sources[0].seed, three.sources[0].seed);
  EXPECT_EQ(two.sources[1].seed, three.sources[1].seed);
  EXPECT_NE(two.sources[0].seed, two.sources[1].seed);
  EXPECT_NE(read({"a", "b"}, "a"), read({"a", "b"}, "b"));
}

// Over any 1,000 steps of 8 samples: well within what independent draws would do, whose standard deviation is sqrt(n w (1 - w)).
TEST(SampleOrder, SharesAreKeptOverAnyStretch) {
  const std::vector<double> weights = {0.62, 0.3, 0.079, 0.001};
  const Phases phases = {{.weights = {{"a", weights[0]}, {"b", weights[1]}, {"c", weights[2]}, {"d", weights[3]}}}};
  const SampleOrder order(order_spec(config_of({"a", "b", "c", "d"}, phases), {400000, 400000, 400000, 400000}));
  constexpr int64_t kWindow = 8000, kAll = 80000, kEvery = 160;
  std::vector<std::vector<int64_t>> passed(4, {0});
  for (int64_t i = 0; i < kAll; ++i) {
    const int source = order.at(i).source;
    for (int s = 0; s < 4; ++s) passed[static_cast<size_t>(s)].push_back(passed[static_cast<size_t>(s)].back() + (source == s));
  }
  for (size_t s = 0; s < 4; ++s) {
    double squares = 0, windows = 0;
    const double deviation = std::sqrt(kWindow * weights[s] * (1 - weights[s]));
    for (int64_t begin = 0; begin + kWindow <= kAll; begin += kEvery, ++windows) {
      const double off =
          static_cast<double>(passed[s][static_cast<size_t>(begin + kWindow)] - passed[s][static_cast<size_t>(begin)]) -
          kWindow * weights[s];
      EXPECT_LT(std::abs(off), 3 * deviation) << "source " << s << " from sample " << begin;
      squares += off * off;
    }
    EXPECT_LT(std::sqrt(squares / windows), 0.7 * deviation + 1) << "source " << s;
    EXPECT_NEAR(static_cast<double>(passed[s].back()), kAll * weights[s], 40) << "source " << s;
  }
}

// Over whole blocks of draws, however many, the counts are as near as counts can be.
TEST(SampleOrder, BlocksAddUpToTheWeights) {
  const SampleOrder order(
      order_spec(config_of({"a", "b", "c"}, {{.weights = {{"a", 0.5}, {"b", 0.49997}, {"c", 0.00003}}}}), {4001, 4001, 4001}));
  std::vector<int64_t> before(3);
  for (int64_t blocks = 1; blocks <= 3000; blocks += blocks < 64 ? 1 : 97) {
    const std::vector<int64_t> tokens = order.consumed(blocks * kBlockDraws);
    const double all = static_cast<double>(blocks * kBlockDraws * 4), weights[] = {0.5, 0.49997, 0.00003};
    for (size_t s = 0; s < 3; ++s) {
      EXPECT_GE(tokens[s], before[s]);
      EXPECT_NEAR(static_cast<double>(tokens[s]) / 4, all * weights[s] / 4, 8) << blocks << " blocks, source " << s;
    }
    before = tokens;
  }
}

double correlation(const std::vector<double>& values, size_t apart) {
  const size_t count = values.size() - apart;
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double together = 0, alone = 0;
  for (size_t i = 0; i < values.size(); ++i) alone += (values[i] - mean) * (values[i] - mean);
  for (size_t i = 0; i < count; ++i) together += (values[i] - mean) * (values[i + apart] - mean);
  return together / alone;
}

TEST(SampleOrder, NeighboursAreUncorrelated) {
  const Phases phases = {{.until_tokens = 400000, .sequence = 4, .weights = {{"a", 0.6}, {"b", 0.4}}}, {.sequence = 16}};
  const SampleOrder order(order_spec(config_of({"a", "b"}, phases), {1000001, 900001}));
  std::vector<double> tokens, sources;
  for (int64_t i = 0; i < 60000; ++i) {
    const SampleOrder::Sample sample = order.at(i);
    tokens.push_back(static_cast<double>(sample.token) / (sample.source == 0 ? 1000001 : 900001));
    sources.push_back(sample.source);
  }
  for (const size_t apart : {1u, 2u, 3u, 4u, 8u, 24u}) {
    EXPECT_LT(std::abs(correlation(tokens, apart)), 4 / std::sqrt(60000.0)) << apart;
    EXPECT_LT(std::abs(correlation(sources, apart)), 4 / std::sqrt(60000.0)) << apart;
  }
}

TEST(SampleOrder, StepsPassOverSkippedSamplesAndEndWithTheirSequence) {
  Config config = config_of({"a", "b"}, {{.until_tokens = 4 * 100, .sequence = 4}, {.sequence = 8}});
  config.data.skip = {
      {.from_sample = 30, .to_sample = 40}, {.from_sample = 10, .to_sample = 20}, {.from_sample = 20, .to_sample = 22}};
  const SampleOrder order(order_spec(config, {4001, 4001}));
  EXPECT_EQ(order.spec().skip, (std::vector<SampleRange>{{10, 22}, {30, 40}}));
  int64_t consumed = 0, trained = 0;
  for (int64_t step = 0; step < 40; ++step) {
    EXPECT_EQ(order.after_steps(0, step, 12), consumed) << step;
    std::vector<int64_t> samples;  // by going through all
    const int64_t first_phase_end = 100;
    int64_t at = consumed;
    for (; samples.size() < 12; ++at) {
      if ((at >= 10 && at < 22) || (at >= 30 && at < 40)) continue;
      if (at >= first_phase_end && !samples.empty() && samples.front() < first_phase_end) break;
      samples.push_back(at);
    }
    for (size_t slot = 0; slot < samples.size(); ++slot) ASSERT_EQ(order.nth(consumed, static_cast<int64_t>(slot)), samples[slot]);
    ASSERT_EQ(order.after_step(consumed, 12), at) << step;
    for (const int64_t sample : samples) trained += order.sequence_at(sample);
    consumed = at;
    ASSERT_EQ(order.trained_tokens(0, consumed), trained);
  }
}

class ChangedPast : public ::testing::Test {
 protected:
  // Two phases of a and b in sequences of 4: the first is of 10,000 draws, two blocks and a part of one.
  Config config_ = config_of({"a", "b"}, {{.until_tokens = 40000}, {.weights = {{"a", 3}, {"b", 1}}}});
  OrderSpec before_ = order_spec(config_, {4001, 5001});

  std::string changed(int64_t consumed, const std::vector<int64_t>& tokens = {4001, 5001}) const {
    return fmt::format("{}", fmt::join(changed_past(before_, order_spec(config_, tokens), consumed), "\n"));
  }
  static void expect_has(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" lacks \"" << part << "\"";
  }
};

TEST_F(ChangedPast, TheSameAndTheFutureMayBe) {
  EXPECT_EQ(changed(9000), "");
  config_.data.phases[1] = {.until_tokens = 90000, .weights = {{"a", 1}, {"c", 5}}};
  config_.data.phases.push_back({.weights = {{"c", 1}}});
  config_.data.sources["c"] = {};
  config_.data.sources["c"].weight = 0;
  config_.data.skip = {{.from_sample = 9000, .to_sample = 9100}};
  EXPECT_EQ(changed(9000, {4001, 5001, 70001}), "");
  config_.data.skip = {{.from_sample = 8999, .to_sample = 9100}};
  expect_has(changed(9000, {4001, 5001, 70001}), "data.skip: of the 9000 samples that are read, skipped none -> 8999 to 9000");
}

TEST_F(ChangedPast, WeightsTokensAndBlocksOfWhatWasRead) {
  expect_has(changed(9000, {4001, 5002}), "source b: 5001 tokens -> 5002; give new data a source of its own");
  config_.data.phases[1].sequence = 8;
  expect_has(changed(9000), "source a: longest sequence 4 -> 8");
  config_.data.phases[1].sequence = 0;
  config_.data.phases[0].weights = {{"a", 1}, {"b", 2}};
  const std::string text = changed(9000);
  expect_has(text, "phase 1: a of 50 % -> 33.3333 %");
  expect_has(text, "phase 1: b of 50 % -> 66.6667 %");
  EXPECT_EQ(changed(0), "");
}

TEST_F(ChangedPast, EndsMoveBeyondTheBlockThatIsBegun) {
  const auto end_at = [&](int64_t samples) { config_.data.phases[0].until_tokens = 4 * samples; };
  end_at(8000);
  expect_has(changed(5000),
             "phase 1: its end at sample 10000 (until_tokens 40000) -> sample 8000 (until_tokens 32000), but 5000 samples are "
             "read; valid: sample 10000 (until_tokens 40000), or from sample 8192 (until_tokens 32768) on");
  end_at(8192);
  EXPECT_EQ(changed(5000), "");
  end_at(20000);
  EXPECT_EQ(changed(5000), "");
  EXPECT_EQ(changed(8192), "") << "no block is begun";
  expect_has(changed(8193), "valid: sample 10000 (until_tokens 40000)");
  expect_has(changed(10001), "valid: sample 10000 (until_tokens 40000)");
  config_.data.phases.pop_back();
  config_.data.phases[0].until_tokens = 0;
  expect_has(changed(10001), "-> the end of the run");
  EXPECT_EQ(changed(5000), "");
}

TEST_F(ChangedPast, OneSourceMayEndAnywhere) {
  config_ = config_of({"a"}, {{.until_tokens = 40000}, {.sequence = 2}});
  before_ = order_spec(config_, {4001});
  config_.data.phases[0].until_tokens = 4 * 5000;
  EXPECT_EQ(changed(5000, {4001}), "");
  expect_has(changed(5001, {4001}), "or from sample 5001");
}

TEST(OrderSpec, WhatCannotBeAnOrderIsUnsound) {
  const OrderSpec sound = order_spec(config_of({"a", "b"}, {{.until_tokens = 400, .sequence = 2}, {.sequence = 8}}), {4001, 4001});
  EXPECT_TRUE(is_sound(sound));
  const auto broken = [&](const auto& breaks) {
    OrderSpec spec = sound;
    breaks(spec);
    return !is_sound(spec);
  };
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases[0].shares[0] += 1; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases[0].shares.pop_back(); }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases[0].end += 1; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases[0].end = kNoEnd; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases[1].end = 1000; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases[1].sequence = 3; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.sources[0].block = 0; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.sources[0].tokens = 8; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.skip = {{5, 5}}; }));
  EXPECT_TRUE(broken([](OrderSpec& s) { s.phases.clear(); }));
}

}  // namespace
}  // namespace drover
