// The operating system's word on the plan: what each rank grew by lies within 5 % + 64 MiB of what was planned.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <tuple>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;

// The bytes of one line of the table that train printed; -1 when there is none.
int64_t printed_bytes(const std::string& output, const std::string& category) {
  const size_t table = output.find("memory of the worst rank"), line = output.find("\n  " + category + " ", table);
  return line == std::string::npos ? -1 : std::stoll(output.substr(line + 3 + category.size()));
}

class Memory : public ::testing::TestWithParam<std::tuple<Layout, std::string, std::string>> {};

TEST_P(Memory, GrowthIsThePlans) {
  const auto& [layout, precision, vocabulary] = GetParam();
  Sandbox sandbox;
  sandbox.configure({{"precision.compute", precision},
                     {"model.vocab", vocabulary},
                     {"model.hidden", "512"},
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
  std::vector<std::string> arguments = sandbox.train_arguments(layout, "run", {});
  arguments.push_back("--log-actions");
  const auto outcome = testing::run_command(sandbox.on_ranks(layout.ranks(), arguments), sandbox.path());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  int64_t most = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const auto counters =
        nlohmann::json::parse(std::ifstream(sandbox.path() / "run" / ("counters_rank_" + std::to_string(rank) + ".json")));
    const int64_t planned = counters["planned_bytes"].get<int64_t>(), grown = counters["resident_bytes_grown"].get<int64_t>();
    most = std::max(most, planned);
    const int64_t slack = planned / 20 + (int64_t{64} << 20);
    std::printf("rank %d: planned %.1f MiB, grown %.1f MiB\n", rank, static_cast<double>(planned) / (1 << 20),
                static_cast<double>(grown) / (1 << 20));
    EXPECT_GT(planned, 3 * slack / 2) << "too small a plan to judge";
    EXPECT_LE(grown, planned + slack);
    EXPECT_GE(grown, planned - slack);
  }
  const auto plan = nlohmann::json::parse(
      sandbox
          .drover({"plan", "config.yaml", "--json", "--ranks", std::to_string(layout.ranks()), "--set",
                   "parallel.tp=" + std::to_string(layout.tp), "--set", "parallel.pp=" + std::to_string(layout.pp)})
          .output);
  EXPECT_GE(plan["categories"].size(), 6u);
  int64_t sum = 0;
  for (const auto& [category, bytes] : plan["categories"].items()) {
    sum += bytes.get<int64_t>();
    EXPECT_EQ(printed_bytes(outcome.output, category), bytes.get<int64_t>()) << "train's table has another number than plan's";
  }
  EXPECT_EQ(sum, plan["total"].get<int64_t>());
  EXPECT_EQ(sum, most) << "the worst rank's own memory";
  EXPECT_EQ(printed_bytes(outcome.output, "total"), sum);
}
INSTANTIATE_TEST_SUITE_P(Layouts, Memory,
                         ::testing::Values(std::tuple{Layout{1, 1, 1}, "f32", "258"}, std::tuple{Layout{2, 1, 1}, "f32", "258"},
                                           std::tuple{Layout{1, 2, 1}, "f32", "258"}, std::tuple{Layout{1, 1, 2}, "f32", "258"},
                                           std::tuple{Layout{2, 1, 1}, "bf16", "258"}, std::tuple{Layout{1, 1, 1}, "f32", "32000"},
                                           std::tuple{Layout{1, 1, 1}, "bf16", "65536"},
                                           std::tuple{Layout{1, 1, 2}, "bf16", "32000"}),
                         [](const auto& test) {
                           return std::get<0>(test.param).name() + "_" + std::get<1>(test.param) + "_" + std::get<2>(test.param);
                         });

}  // namespace
}  // namespace drover
