// The operating system's word on the plan: what each rank grew by lies within 5 % + 64 MiB of what was planned.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;

class Memory : public ::testing::TestWithParam<Layout> {};

TEST_P(Memory, GrowthIsThePlans) {
  Sandbox sandbox;
  sandbox.configure({{"model.hidden", "512"},
                     {"model.layers", "6"},
                     {"model.ffn", "1536"},
                     {"model.head_dim", "64"},
                     {"train.sequence", "128"},
                     {"train.micro_batch", "8"},
                     {"train.global_batch", "16"},
                     {"train.steps", "3"},
                     {"optimizer.warmup_steps", "1"},
                     {"checkpoint.every", "1"},
                     {"checkpoint.keep", "1"}});
  std::vector<std::string> arguments = sandbox.train_arguments(GetParam(), "run", {});
  arguments.push_back("--log-actions");
  const auto outcome = testing::run_command(sandbox.on_ranks(GetParam().ranks(), arguments), sandbox.path());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (int rank = 0; rank < GetParam().ranks(); ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const auto counters =
        nlohmann::json::parse(std::ifstream(sandbox.path() / "run" / ("counters_rank_" + std::to_string(rank) + ".json")));
    const int64_t planned = counters["planned_bytes"].get<int64_t>(), grown = counters["resident_bytes_grown"].get<int64_t>();
    const int64_t slack = planned / 20 + (int64_t{64} << 20);
    std::printf("rank %d: planned %.1f MiB, grown %.1f MiB\n", rank, static_cast<double>(planned) / (1 << 20),
                static_cast<double>(grown) / (1 << 20));
    EXPECT_GT(planned, 3 * slack / 2) << "too small a plan to judge";
    EXPECT_LE(grown, planned + slack);
    EXPECT_GE(grown, planned - slack);
  }
  const auto plan = nlohmann::json::parse(
      sandbox
          .drover({"plan", "config.yaml", "--json", "--ranks", std::to_string(GetParam().ranks()), "--set",
                   "parallel.tp=" + std::to_string(GetParam().tp), "--set", "parallel.pp=" + std::to_string(GetParam().pp)})
          .output);
  EXPECT_NE(outcome.output.find(std::to_string(plan["total"].get<long long>()) + " bytes"), std::string::npos)
      << "train's table has another total than plan's";
}
INSTANTIATE_TEST_SUITE_P(Layouts, Memory, ::testing::Values(Layout{1, 1, 1}, Layout{2, 1, 1}, Layout{1, 2, 1}, Layout{1, 1, 2}),
                         [](const auto& layout) { return layout.param.name(); });

}  // namespace
}  // namespace drover
