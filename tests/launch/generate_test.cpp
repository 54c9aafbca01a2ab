// `drover generate` on a model that learned a little.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Outcome;

class Generate : public ::testing::Test {
 protected:
  Generate() {
    sandbox_.configure({{"train.steps", "10"},
                        {"train.global_batch", "4"},
                        {"optimizer.lr", "0.01"},
                        {"model.vocab", "300"},
                        {"model.kv_heads", "2"}});
    const Outcome trained = sandbox_.train({}, "run");
    EXPECT_EQ(trained.code, 0) << trained.output;
  }
  Outcome generate(std::vector<std::string> options) const {
    options.insert(options.begin(), {"generate", "run"});
    return sandbox_.drover(options);
  }
  std::string text(const std::vector<std::string>& options) const {
    const Outcome outcome = generate(options);
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    return outcome.output;
  }
  testing::Sandbox sandbox_;
};

TEST_F(Generate, TheSeedDecides) {
  const std::vector<std::string> options{"--prompt", "abc", "--max-tokens", "30", "--temperature", "2", "--seed"};
  const auto with = [&](const char* seed) {
    std::vector<std::string> all = options;
    all.push_back(seed);
    return text(all);
  };
  const std::string first = with("1");
  EXPECT_EQ(first.rfind("abc", 0), 0u) << first;
  EXPECT_EQ(first.back(), '\n');
  EXPECT_EQ(with("1"), first);
  EXPECT_NE(with("2"), first);
}

TEST_F(Generate, TheMostLikelyTokenNeedsNoSeed) {
  const std::string greedy = text({"--prompt", "ab", "--max-tokens", "8", "--temperature", "0", "--seed", "1"});
  EXPECT_EQ(text({"--prompt", "ab", "--max-tokens", "8", "--temperature", "0", "--seed", "2"}), greedy);
  EXPECT_EQ(text({"--prompt", "ab", "--max-tokens", "8", "--temperature", "3", "--top-k", "1"}), greedy);
}

TEST_F(Generate, AddsAtMostAsManyTokensAsAsked) {
  EXPECT_EQ(text({"--prompt", "abc", "--max-tokens", "0"}), "abc\n");
  const std::string longer(100, 'a');  // than a sample of training
  const std::string grown = text({"--prompt", longer, "--max-tokens", "5"});
  EXPECT_EQ(grown.rfind(longer, 0), 0u);
  EXPECT_LE(grown.size(), longer.size() + 5 + 1);
}

TEST_F(Generate, ADamagedCheckpointIsNotRead) {
  std::filesystem::resize_file(sandbox_.checkpoint("run", 10) / "rank_00000.h5", 5000);
  const Outcome outcome = generate({});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_NE(outcome.output.find("rank_00000.h5 has 5000 bytes"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace drover
