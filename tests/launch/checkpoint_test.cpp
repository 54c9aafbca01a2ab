// `drover checkpoint` on the checkpoints of a short run.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

class CheckpointCommand : public ::testing::Test {
 protected:
  CheckpointCommand() {
    sandbox_.configure(
        {{"train.steps", "2"}, {"checkpoint.every", "1"}, {"checkpoint.keep", "0"}, {"optimizer.warmup_steps", "1"}});
    const Outcome trained = sandbox_.train({2, 1, 1}, "run");
    EXPECT_EQ(trained.code, 0) << trained.output;
  }
  std::string step(int number) const { return sandbox_.checkpoint("run", number); }
  void expect(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& words) const {
    std::vector<std::string> command{"checkpoint"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    sandbox_.expect(command, code, words);
  }
  testing::Sandbox sandbox_;
};

TEST_F(CheckpointCommand, ListsTheNewestFirstAndWhatIsDamaged) {
  const Outcome all = sandbox_.drover({"checkpoint", "list", "run"});
  EXPECT_EQ(all.code, 0);
  EXPECT_EQ(testing::count(all.output, "2 writers  dp 2, tp 1, pp 1"), 3) << all.output;
  EXPECT_LT(all.output.find("step_00000002"), all.output.find("step_00000000"));
  fs::resize_file(fs::path(step(1)) / "manifest.pb", 20);
  expect({"list", "run"}, 0, {"step 1        DAMAGED", "manifest.pb: the checksum does not match"});
  expect({"list", "nowhere"}, 3, {"nowhere holds no checkpoints"});
  fs::remove(fs::path(step(2)) / "rank_00001.h5");
  expect({"list", "run"}, 0, {"step 2        DAMAGED: rank_00001.h5: No such file"});
  expect({"inspect", "run"}, 0, {"step        0 (0 updates applied"});
}

TEST_F(CheckpointCommand, SaysWhatCannotBeLookedInto) {
  fs::create_symlink("loop", sandbox_.path() / "loop");
  for (const std::string verb : {"inspect", "verify"}) expect({verb, "loop"}, 3, {"loop/checkpoints cannot be read: Too many"});
  const Outcome resumed = sandbox_.drover({"resume", "loop"});
  EXPECT_EQ(resumed.code, 3);
  EXPECT_NE(resumed.output.find("run loop cannot be read: Too many"), std::string::npos) << resumed.output;
}

TEST_F(CheckpointCommand, InspectsOneOrTheNewestOfARun) {
  for (const std::string& path : {std::string("run"), step(2)})
    expect({"inspect", path}, 0,
           {"step        2 (2 updates applied, 0 skipped)", "samples     48 consumed", "tokenizer   bytes", "rank_00001.h5",
            "index.h5", "model.layers.3.mlp.down_proj.weight", "[32, 64]"});
  expect({"inspect", "nowhere"}, 3, {"nowhere is neither a checkpoint"});
}

TEST_F(CheckpointCommand, VerifySaysAllThatIsWrong) {
  expect({"verify", "run"}, 0, {"step_00000000: sound", "step_00000002: sound"});
  for (const char* name : {"rank_00000.h5", "index.h5"}) fs::resize_file(fs::path(step(1)) / name, 100);
  expect({"verify", "run"}, 3,
         {"step_00000001: DAMAGED", "rank_00000.h5 has 100 bytes", "index.h5 has 100 bytes", "00000002: sound"});
  expect({"index", step(1)}, 0, {"index.h5"});
  expect({"verify", step(1)}, 3, {"rank_00000.h5 has 100 bytes"});
  for (const int number : {0, 1, 2}) fs::remove_all(step(number));
  expect({"verify", "run"}, 3, {"holds no checkpoints"});
}

TEST_F(CheckpointCommand, DiffComparesEveryTensor) {
  expect({"diff", step(2), step(2)}, 0, {"all tensors are equal, bit for bit"});
  expect({"diff", step(1), step(2)}, 10, {"master    lm_head.weight", "differs relative", "the checkpoints differ"});
  expect({"diff", step(1)}, 2, {"two checkpoints"});
  fs::resize_file(fs::path(step(1)) / "rank_00000.h5", 100);
  expect({"diff", step(1), step(2)}, 3, {"rank_00000.h5 has 100 bytes"});
}

}  // namespace
}  // namespace drover
