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

}  // namespace
}  // namespace drover
