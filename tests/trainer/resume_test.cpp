// What may change between a checkpoint and the run that goes on from it.
#include "trainer/resume.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/trainer/testing.h"

namespace drover {
namespace {

CheckpointInfo checkpoint_of(const Config& config) {
  CheckpointInfo info;
  info.path = "runs/a/checkpoints/step_00000002";
  info.state.config_yaml = to_yaml(config);
  info.state.tokenizer = "bytes";
  info.state.tokenizer_hash = 0x1234;
  return info;
}

// The saved run's threads are kept for as many ranks, and chosen again for others, however the layout was changed.
TEST(PreparedForResume, ThreadsFollowTheNumberOfRanks) {
  Config saved = testing::small_config();
  saved.run.threads = 2;
  const auto threads = [&](const std::vector<std::string>& overrides, int64_t ranks) {
    LoadedConfig loaded = load_config_text(to_yaml(saved), "config.yaml", overrides);
    prepare_for_resume(loaded, saved, overrides, "run", ranks);
    return loaded.config.run.threads;
  };
  EXPECT_EQ(threads({}, 1), 2);
  EXPECT_EQ(threads({}, 4), 0);
  EXPECT_EQ(threads({"parallel.tp=4"}, 4), 0);
  EXPECT_EQ(threads({"parallel.tp=4", "run.threads=3"}, 4), 3);
}

TEST(ComparedWithCheckpoint, TheSameRunChangesNothing) {
  const Config config = testing::small_config();
  const CheckpointInfo found = checkpoint_of(config);
  EXPECT_TRUE(compare_with_checkpoint(found, found.state, config).empty());
}

TEST(ComparedWithCheckpoint, SettingsThatMayChangeAreListed) {
  Config config = testing::small_config();
  const CheckpointInfo found = checkpoint_of(config);
  config.train.steps = 20;
  EXPECT_EQ(compare_with_checkpoint(found, found.state, config), std::vector<std::string>{"changed train.steps: 10 -> 20"});
}

TEST(ComparedWithCheckpoint, AnotherTokenizerIsRefused) {
  const Config config = testing::small_config();
  const CheckpointInfo found = checkpoint_of(config);
  RunState now = found.state;
  now.tokenizer_hash = 0x5678;
  try {
    compare_with_checkpoint(found, now, config);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::resume);
    EXPECT_NE(std::string(error.what()).find("tokenizer: bytes (0000000000001234) -> bytes (0000000000005678)"), std::string::npos)
        << error.what();
  }
}

// Saved before there were mixtures: data.train alone, whose tokens nobody wrote down.
TEST(ComparedWithCheckpoint, WithoutARecordOfTheOrderItWasOneSource) {
  Config config = testing::small_config();
  config.data.train = {"data"};
  const CheckpointInfo old = [&] {
    CheckpointInfo found = checkpoint_of(config);
    found.state.samples_consumed = 16;
    return found;
  }();
  const auto compare = [&](const std::vector<int64_t>& tokens) {
    RunState now = old.state;
    now.order = order_spec(config, tokens);
    return compare_with_checkpoint(old, now, config);
  };
  EXPECT_TRUE(compare({5000}).empty());
  config.data.sources["train"] = {.path = {"data"}};
  config.data.train.clear();
  config.data.sources["web"] = {.path = {"web"}};
  config.data.phases = {{.until_tokens = 16 * config.train.sequence, .weights = {{"train", 1}}}, {}};
  EXPECT_EQ(compare({5000, 9000}).size(), 3u) << "train, sources and phases changed, and may";
  config.data.phases.clear();
  try {
    compare({5000, 9000});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::resume);
    EXPECT_NE(std::string(error.what()).find("phase 1: source web is new in it"), std::string::npos) << error.what();
  }
}

TEST(ComparedWithCheckpoint, ADamagedRecordOfTheOrderIsRefused) {
  Config config = testing::small_config();
  config.data.train = {"data"};
  CheckpointInfo found = checkpoint_of(config);
  RunState now = found.state;
  now.order = found.state.order = order_spec(config, {5000});
  found.state.order.phases[0].shares[0] = 5;
  EXPECT_THROW(compare_with_checkpoint(found, now, config), Error);
}

}  // namespace
}  // namespace drover
