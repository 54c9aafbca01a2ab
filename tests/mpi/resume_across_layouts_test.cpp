// Save at one layout, load at another: the state bit for bit, and the losses that follow.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"
#include "trainer/checkpoint/store.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all = {{1, 1, 1}, {2, 1, 1}, {4, 1, 1}, {1, 2, 1}, {1, 1, 2},
                                          {2, 2, 1}, {1, 2, 2}, {2, 1, 2}, {2, 2, 2}};
  return all;
}

// Copies the checkpoint of step 3 as the only one of a new run.
void plant(const Sandbox& sandbox, const std::string& from, const std::string& run) {
  std::filesystem::create_directories(sandbox.path() / run / "checkpoints");
  std::filesystem::copy(sandbox.checkpoint(from, 3), sandbox.checkpoint(run, 3), std::filesystem::copy_options::recursive);
}

class AcrossLayouts : public ::testing::TestWithParam<Layout> {};

TEST_P(AcrossLayouts, SavedHereLoadsEverywhere) {
  Sandbox sandbox;
  const Layout& saved = GetParam();
  sandbox.configure({{"train.steps", "6"},
                     {"checkpoint.every", "3"},
                     {"checkpoint.keep", "0"},
                     {"model.qkv_bias", "true"},
                     {"model.kv_heads", "2"},
                     {"model.tied_embeddings", saved.dp == 2 ? "false" : "true"}});
  const auto whole = sandbox.train(saved, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  const auto rows = sandbox.metrics("whole");
  const auto place =
      std::find_if(layouts().begin(), layouts().end(), [&](const Layout& one) { return one.name() == saved.name(); }) -
      layouts().begin();
  for (ptrdiff_t other = 0; other < std::ssize(layouts()); ++other) {
    const Layout& loaded = layouts()[static_cast<size_t>(other)];
    SCOPED_TRACE(saved.name() + " to " + loaded.name());
    const std::string again = "again_" + loaded.name(), rest = "rest_" + loaded.name();
    constexpr const char* kResave = DROVER_BUILD_DIR "/resave_checkpoint";
    std::vector<std::string> resave{kResave,
                                    "config.yaml",
                                    sandbox.checkpoint("whole", 3),
                                    again,
                                    "parallel.tp=" + std::to_string(loaded.tp),
                                    "parallel.pp=" + std::to_string(loaded.pp)};
    if (loaded.ranks() > 1) resave.insert(resave.begin(), {testing::mpirun_script(), "-np", std::to_string(loaded.ranks())});
    const auto resaved = testing::run_command(resave, sandbox.path());
    ASSERT_EQ(resaved.code, 0) << resaved.output;
    testing::expect_equal_tensors(sandbox.checkpoint("whole", 3), sandbox.checkpoint(again, 3));
    EXPECT_EQ(read_manifest(sandbox.checkpoint("whole", 3)).state.applied,
              read_manifest(sandbox.checkpoint(again, 3)).state.applied);

    // The losses that follow, of a third of the pairs: what they follow from has the same bits.
    if ((other - place) % 3 != 0 && std::getenv("DROVER_SOAK") == nullptr) continue;
    plant(sandbox, "whole", rest);
    const auto resumed = sandbox.train(loaded, rest, {"checkpoint.resume=must"});
    ASSERT_EQ(resumed.code, 0) << resumed.output;
    EXPECT_LE(testing::largest_difference({rows.begin() + 3, rows.end()}, sandbox.metrics(rest), "loss"), 1e-5);
    if (loaded.name() == saved.name()) testing::expect_equal_tensors(sandbox.checkpoint("whole", 6), sandbox.checkpoint(rest, 6));
  }
}
INSTANTIATE_TEST_SUITE_P(From, AcrossLayouts, ::testing::ValuesIn(layouts()), [](const auto& test) { return test.param.name(); });

// One run that changes its layout every two steps, through `drover resume`, against one that does not.
TEST(Resume, ThroughEveryLayout) {
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "20"},
                     {"optimizer.schedule", "constant"},
                     {"optimizer.warmup_steps", "2"},
                     {"model.tied_embeddings", "true"}});
  const auto whole = sandbox.train({}, "whole");
  ASSERT_EQ(whole.code, 0) << whole.output;
  const auto first = sandbox.train({}, "moving", {"train.steps=3"});
  ASSERT_EQ(first.code, 0) << first.output;
  int step = 3;
  for (const Layout& layout : layouts()) {
    step = std::min(step + 2, 20);
    const auto resumed = sandbox.resume(layout, "moving", {"train.steps=" + std::to_string(step)});
    ASSERT_EQ(resumed.code, 0) << layout.name() << resumed.output;
  }
  const auto rows = sandbox.metrics("whole");
  ASSERT_LE(step, 21);
  EXPECT_LE(testing::largest_difference({rows.begin(), rows.begin() + step}, sandbox.metrics("moving"), "loss"), 1e-5);
}

}  // namespace
}  // namespace drover
