// The audit of small mixtures of which every figure is known by hand.
#include "data/audit.h"

#include <gtest/gtest.h>

#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

std::vector<int32_t> counting(int32_t from, int count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) tokens[static_cast<size_t>(i)] = from + i;
  return tokens;
}

class Audits : public ::testing::Test {
 protected:
  Audits() {
    config_.model.vocab = 5000;
    config_.train.steps = 10;
    config_.train.global_batch = 8;
    config_.train.sequence = 8;
  }

  void source(const std::string& name, const std::vector<std::vector<int32_t>>& shards,
              const std::vector<std::vector<uint64_t>>& ends, uint32_t width = 2) {
    fs::create_directories(scratch_.path / name);
    for (size_t s = 0; s < shards.size(); ++s)
      write_shard(scratch_.path / name / (std::to_string(s) + ".tokens"), shards[s], ends[s], 5000, width);
    mark_prepared(scratch_.path / name);
    config_.data.sources[name].path = {(scratch_.path / name).string()};
  }
  std::string shard(const std::string& name, int index) const {
    return (scratch_.path / name / (std::to_string(index) + ".tokens")).string();
  }
  Audit audit(const AuditLimits& limits = {}) const {
    return audit_data(config_, limits, [](const std::string&, int64_t) {});
  }

  Directory scratch_;
  Config config_;
};

// 81 tokens are 10 blocks of 8. The one phase of 80 samples draws half of them from each.
TEST_F(Audits, DocumentsEpochsAndShares) {
  source("a", {counting(0, 50), counting(50, 31)}, {{10, 30}, {6, 31}});
  source("b", {counting(1000, 161)}, {{161}});
  const Audit found = audit();
  EXPECT_TRUE(found.problems.empty());
  ASSERT_EQ(found.sources.size(), 2u);
  const AuditSource& a = found.sources[0];
  EXPECT_EQ(a.shards, 2);
  EXPECT_EQ(a.tokens, 81);
  EXPECT_EQ(a.documents, 4);  // of 10, 20, 26 and 25 tokens
  ASSERT_EQ(a.longest.size(), 3u);
  EXPECT_EQ(a.longest[0].tokens, 26);
  EXPECT_EQ(a.longest[0].shard, shard("a", 0));
  EXPECT_EQ(a.longest[0].first, 30);
  EXPECT_EQ(a.longest[1].tokens, 25);
  EXPECT_EQ(a.longest[1].shard, shard("a", 1));
  EXPECT_EQ(a.longest[1].first, 6);
  EXPECT_EQ(a.longest[2].tokens, 20);
  EXPECT_EQ(a.longest[2].first, 10);
  ASSERT_TRUE(found.run);
  EXPECT_EQ(found.run->samples, 80);
  EXPECT_EQ(found.run->tokens, 640);
  EXPECT_TRUE(found.run->short_steps.empty());
  EXPECT_EQ(found.run->empty_share, 0);
  const double of_a = a.epochs * 10, of_b = found.sources[1].epochs * 20;  // samples
  EXPECT_DOUBLE_EQ(of_a + of_b, 80);
  ASSERT_EQ(found.run->shares[0].size(), 60u);  // of 80 samples
  for (size_t column = 0; column < 60; ++column) EXPECT_DOUBLE_EQ(found.run->shares[0][column] + found.run->shares[1][column], 1);
}

// Phase 1: a alone, 41 tokens rounded up to 6 samples of 8: one step of 4 and one of 2. Phase 2: b alone, in samples of 16.
TEST_F(Audits, PhasesAndTheirShortSteps) {
  config_.train.global_batch = 4;
  config_.train.steps = 5;
  config_.data.phases = {{.until_tokens = 41, .sequence = 8, .weights = {{"a", 1}}}, {.sequence = 16, .weights = {{"b", 1}}}};
  source("a", {counting(0, 33)}, {{33}});
  source("b", {counting(100, 65)}, {{65}});
  Audit found = audit({.columns = 4});
  ASSERT_TRUE(found.run);
  ASSERT_EQ(found.run->short_steps.size(), 1u);
  EXPECT_EQ(found.run->short_steps[0].step, 2);
  EXPECT_EQ(found.run->short_steps[0].filled, 2);
  EXPECT_EQ(found.run->short_steps[0].sequence, 8);
  EXPECT_DOUBLE_EQ(found.run->empty_share, 16.0 / (2 * 4 * 8 + 3 * 4 * 16));
  EXPECT_EQ(found.run->samples, 6 + 12);
  EXPECT_EQ(found.run->tokens, 48 + 192);
  EXPECT_EQ(found.sources[0].phase_epochs, (std::vector<double>{1.5, 0}));
  EXPECT_EQ(found.sources[1].phase_epochs, (std::vector<double>{0, 3}));
  EXPECT_EQ(found.sources[0].epochs, 1.5);
  // Token 60 lies in the first sample of b.
  EXPECT_EQ(found.run->phases, (std::vector<int>{0, 1, 1, 1}));
  EXPECT_EQ(found.run->shares[0], (std::vector<double>{1, 0, 0, 0}));
  EXPECT_EQ(found.run->shares[1], (std::vector<double>{0, 1, 1, 1}));
  // Where the run ends with the phase's last step, that is short all the same.
  config_.train.steps = 2;
  found = audit();
  EXPECT_EQ(found.run->short_steps.size(), 1u);
  EXPECT_EQ(found.sources[1].phase_epochs, (std::vector<double>{0}));
}

// x has 20 tokens: 8 grams, all different. "x x" has 28, of which 8 come twice; the 12 across the seam are of their own.
TEST_F(Audits, RepetitionOfGrams) {
  const std::vector<int32_t> x = counting(0, 20), y = counting(100, 30);
  std::vector<int32_t> all = x;
  all.insert(all.end(), x.begin(), x.end());
  all.insert(all.end(), y.begin(), y.end());
  all.insert(all.end(), x.begin(), x.end());
  source("a", {all}, {{40, 70, 90}});
  AuditRepetition found = audit().sources[0].repetition;
  EXPECT_EQ(found.documents, 3);
  EXPECT_EQ(found.grams, 28 + 18 + 8);
  EXPECT_EQ(found.within, 16);
  EXPECT_EQ(found.across, 16 + 8);
  found = audit({.documents = 2}).sources[0].repetition;  // numbers 0 and 1 of the three
  EXPECT_EQ(found.documents, 2);
  EXPECT_EQ(found.grams, 28 + 18);
  EXPECT_EQ(found.across, 0);
  found = audit({.document_tokens = 20}).sources[0].repetition;
  EXPECT_EQ(found.grams, 8 + 8 + 8);
  EXPECT_EQ(found.within, 0);
  EXPECT_EQ(found.across, 16);
}

// A document of two shards is one.
TEST_F(Audits, GramsAcrossShards) {
  source("a", {counting(0, 7), counting(7, 13), counting(0, 20)}, {{}, {13}, {20}});
  const AuditRepetition found = audit().sources[0].repetition;
  EXPECT_EQ(found.documents, 2);
  EXPECT_EQ(found.grams, 16);
  EXPECT_EQ(found.across, 16);
}

// More blocks than one of either width, the last of them of one token.
TEST_F(Audits, EveryTokenIsReadOnce) {
  for (const uint32_t width : {2u, 4u}) {
    const size_t size = 9 * (256 * 1024 / width) + 1;
    std::vector<int32_t> tokens(size, 4999);
    source("a", {tokens}, {{size}}, width);
    EXPECT_EQ(audit().sources[0].outside, 0);
    for (const size_t place : {size - 1, size_t{70000}, size_t{69999}, size / 2})
      tokens[place] = 5000 + static_cast<int32_t>(place % 7);
    tokens[0] = width == 4 ? -1 : 65535;
    fs::remove_all(scratch_.path / "a");
    source("a", {tokens}, {{size}}, width);
    const Audit found = audit();
    EXPECT_EQ(found.sources[0].outside, 5);
    ASSERT_EQ(found.problems.size(), 1u);
    expect_has(found.problems[0], "data.sources.a: " + shard("a", 0) + ": 5 of " + std::to_string(size) +
                                      " tokens outside model.vocab 5000: the first is " + (width == 4 ? "4294967295" : "65535") +
                                      " at index 0");
    fs::remove_all(scratch_.path / "a");
  }
}

// All of them are named, and what opens is looked at all the same.
TEST_F(Audits, WhatDoesNotOpen) {
  source("a", {counting(0, 40), counting(0, 40)}, {{40}, {40}});
  source("b", {counting(4990, 40)}, {{40}});
  config_.data.sources["c"].path = {(scratch_.path / "nowhere").string()};
  write_bytes(shard("a", 0), "short");
  const Audit found = audit();
  ASSERT_EQ(found.problems.size(), 3u);
  expect_has(found.problems[0], "data.sources.a: token shard " + shard("a", 0) + ": truncated");
  expect_has(found.problems[1], "data.sources.b: " + shard("b", 0) + ": 30 of 40 tokens outside");
  expect_has(found.problems[2], "data.sources.c: data directory " + (scratch_.path / "nowhere").string() + " does not exist");
  EXPECT_EQ(found.sources[0].tokens, 40);
  EXPECT_EQ(found.sources[0].documents, 1);
  EXPECT_FALSE(found.run);
}

// What only the sources together show.
TEST_F(Audits, WhatTheRunWouldRefuse) {
  source("a", {counting(0, 40)}, {{40}});
  config_.model.vocab = 4000;
  const Audit found = audit();
  ASSERT_EQ(found.problems.size(), 1u);
  expect_has(found.problems[0], "was made with a vocabulary of 5000");
  EXPECT_EQ(found.sources[0].outside, 0);
}

TEST_F(Audits, DocumentEndsOutOfOrder) {
  source("a", {counting(0, 40)}, {{10, 40}});
  std::string bytes = bytes_of(shard("a", 0));
  bytes[bytes.size() - 16] = 60;
  write_bytes(shard("a", 0), bytes);
  const Audit found = audit();
  ASSERT_EQ(found.problems.size(), 1u);
  expect_has(found.problems[0], "document end 60 is out of order");
}

TEST(Eighths, OfShares) { EXPECT_EQ(eighths({0, 1e-9, 0.125, 0.18, 0.19, 0.5, 0.93, 0.94, 1}), " ▁▁▁▂▄▇██"); }

}  // namespace
}  // namespace drover
