// A phase of another sequence begins in the running process as it does after a stop and a resume; what was read stays read.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

// Sequences of 32, of 64 and of 32 again: 100 samples (4 steps of 24 and one of 4), 48 (2 steps), and the rest of the run.
constexpr int kFirstEnd = 5, kSecondEnd = 7, kSteps = 10;
constexpr const char* kSources = "{web: {path: data, weight: 0.7}, code: {path: code, weight: 0.3}}";
constexpr const char* kPhases = "[{until_tokens: 3200}, {until_tokens: 6272, sequence: 64, weights: {code: 1, web: 1}}, {}]";

class Phases : public ::testing::Test {
 protected:
  Phases() {
    std::ofstream text(sandbox_.path() / "code.jsonl");
    for (int i = 0; i < 400; ++i) text << "{\"text\": \"int f" << i << "(int x) { return x + " << 7 * i << "; }\"}\n";
    text.close();
    const testing::Outcome made = sandbox_.drover({"prepare", "--tokenizer", "bytes", "--out", "code", "code.jsonl"});
    EXPECT_EQ(made.code, 0) << made.output;
    configure({});
  }
  void configure(const std::map<std::string, std::string>& keys) {
    std::map<std::string, std::string> all = keys;
    all.insert({{"data.train", "[]"},
                {"data.sources", kSources},
                {"data.phases", kPhases},
                {"data.validation", "data"},
                {"train.steps", std::to_string(kSteps)},
                {"train.validate_every", "5"},
                {"train.validation_batches", "1"},
                {"optimizer.schedule", "constant"},
                {"optimizer.warmup_steps", "2"},
                {"checkpoint.keep", "0"}});
    sandbox_.configure(all);
  }
  std::vector<nlohmann::json> rows(const std::string& run) const { return testing::without_timings(sandbox_.metrics(run)); }

  testing::Sandbox sandbox_;
};

TEST_F(Phases, GoOnInTheProcessAsAfterAResume) {
  const testing::Layout layout{2, 1, 1};
  const testing::Outcome whole = sandbox_.train(layout, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  EXPECT_NE(whole.output.find("step 5: 64 tokens a sequence from here on, 32 before"), std::string::npos) << whole.output;
  EXPECT_NE(whole.output.find("step 7: 32 tokens a sequence from here on, 64 before"), std::string::npos) << whole.output;
  EXPECT_NE(whole.output.find("done: 10 steps in"), std::string::npos) << whole.output;
  std::vector<int64_t> tokens;
  for (const nlohmann::json& row : rows("whole"))
    if (row.contains("tokens")) tokens.push_back(row["tokens"]);
  EXPECT_EQ(tokens, (std::vector<int64_t>{768, 1536, 2304, 3072, 3200, 4736, 6272, 7040, 7808, 8576}));
  for (const int end : {kFirstEnd, kSecondEnd}) {
    const testing::Outcome part =
        end == kFirstEnd ? sandbox_.train(layout, "parts", {"train.steps=5"}) : sandbox_.resume(layout, "parts", {"train.steps=7"});
    ASSERT_EQ(part.code, 0) << part.output;
    testing::expect_equal_tensors(sandbox_.checkpoint("whole", end), sandbox_.checkpoint("parts", end));
  }
  const testing::Outcome rest = sandbox_.resume(layout, "parts", {"train.steps=10"});
  ASSERT_EQ(rest.code, 0) << rest.output;
  testing::expect_equal_tensors(sandbox_.checkpoint("whole", kSteps), sandbox_.checkpoint("parts", kSteps));
  std::vector<nlohmann::json> without_last_validations;  // a run of 7 steps validates at its end
  for (const nlohmann::json& row : rows("parts"))
    if (!(row.contains("validation_loss") && row["step"] == kSecondEnd)) without_last_validations.push_back(row);
  EXPECT_EQ(rows("whole"), without_last_validations);
  // In the middle of a phase, at another layout.
  const testing::Outcome other = sandbox_.train({1, 2, 1}, "other", {"train.steps=6"});
  ASSERT_EQ(other.code, 0) << other.output;
  ASSERT_EQ(sandbox_.resume({1, 1, 1}, "other", {"train.steps=10"}).code, 0);
  std::vector<nlohmann::json> others;
  for (const nlohmann::json& row : rows("other"))
    if (!(row.contains("validation_loss") && row["step"] == 6)) others.push_back(row);
  EXPECT_LT(testing::largest_difference(rows("whole"), others, "loss"), 2e-4);
}

TEST_F(Phases, WhatWasReadCannotChange) {
  ASSERT_EQ(sandbox_.train({}, "run", {"train.steps=6"}).code, 0);
  const auto refused = [&](const std::vector<std::string>& set, const std::vector<std::string>& words) {
    std::vector<std::string> all = set;
    all.push_back("train.steps=10");
    testing::expect_one_error(sandbox_.resume({}, "run", all), 3, words);
  };
  refused({"data.phases.1.weights={web: 1}"}, {"these cannot change on resume", "phase 1: web of 70 % -> 100 %"});
  refused({"data.phases.2.until_tokens=9000"},
          {"phase 2: its end at sample 148 (until_tokens 6272) -> sample 191", "valid: sample 148"});
  refused({"data.phases.3.sequence=128"},
          {"source code: longest sequence 64 -> 128", "as a source of its own, or in sequences up to 64"});
  refused({"data.skip=[{from_sample: 3, to_sample: 5}]"}, {"data.skip: of the 124 samples that are read, skipped none -> 3 to 5"});
  refused({"data.sources.code.path=data"}, {"source code: ", " tokens -> "});
  const testing::Outcome more =
      sandbox_.resume({}, "run",
                      {"train.steps=10", "data.sources.wiki.path=data", "data.sources.wiki.weight=0",
                       "data.phases.3.weights={wiki: 1, web: 1}", "data.skip=[{from_sample: 130, to_sample: 140}]"});
  ASSERT_EQ(more.code, 0) << more.output;
  EXPECT_NE(more.output.find("changed data.skip: [] -> [{from_sample: 130, to_sample: 140}]"), std::string::npos) << more.output;
  // Samples 124 to 147 of 64 tokens without ten, then three steps of 24.
  EXPECT_EQ(sandbox_.metrics("run").back().value("tokens",
                                                 sandbox_.metrics("run")[sandbox_.metrics("run").size() - 2].value("tokens", 0)),
            3200 + 64 * (48 - 10) + 3 * 24 * 32);
}

TEST_F(Phases, TooManyEpochsAreRefused) {
  const std::vector<std::string> words = {
      "data.sources: the run of 10 steps would read more of a source than max_epochs allows: code 0.3 -> ",
      " epochs (at most 0.01), web 0.7 -> "};
  testing::expect_one_error(sandbox_.train({}, "run", {"data.sources.code.max_epochs=0.01"}), 2, words);
  EXPECT_FALSE(std::filesystem::exists(sandbox_.path() / "run"));
  const testing::Outcome plan =
      sandbox_.drover({"plan", "config.yaml", "--ranks", "1", "--set", "data.sources.code.max_epochs=0.01"});
  testing::expect_one_error(plan, 2, words);
  EXPECT_NE(plan.output.find("phase 2    samples 100 to 147 of 64 tokens, 3.07e+03 tokens: code 0.5 ("), std::string::npos)
      << plan.output;
  EXPECT_NE(plan.output.find("steps, sequences as data.phases says"), std::string::npos) << plan.output;
  EXPECT_NE(plan.output.find("of 64 tokens = 1536 tokens a step"), std::string::npos)
      << "memory is that of the longest: " << plan.output;
}

}  // namespace
}  // namespace drover
