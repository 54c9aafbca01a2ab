// The operating system's word on the plan: what each rank grew by lies within 5 % + 64 MiB of what was planned.
#include <gtest/gtest.h>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;

class Memory : public ::testing::TestWithParam<Layout> {};

TEST_P(Memory, GrowthIsThePlans) {
  Sandbox sandbox;
  sandbox.configure({{"model.hidden", "512"}, {"model.layers", "6"}, {"model.ffn", "1536"}, {"model.head_dim", "64"}, {"train.sequence", "128"},
                     {"train.micro_batch", "8"}, {"train.global_batch", "16"}, {"train.steps", "3"}, {"optimizer.warmup_steps", "1"},
                     {"checkpoint.every", "1"}, {"checkpoint.keep", "1"}});
  const auto outcome = sandbox.train(GetParam(), "run");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  long long planned = 0, grown = 0;
  const size_t at = outcome.output.find("memory  planned ");
  ASSERT_NE(at, std::string::npos) << outcome.output;
  ASSERT_EQ(std::sscanf(outcome.output.c_str() + at, "memory  planned %lld bytes, resident %lld", &planned, &grown), 2);
  EXPECT_GT(planned, 100ll << 20) << "too small a plan to judge";
  EXPECT_LE(grown, planned + planned / 20 + (64ll << 20));
  EXPECT_GE(grown, planned / 2) << "a plan far above the need";
  const auto plan = nlohmann::json::parse(sandbox.drover({"plan", "config.yaml", "--json", "--ranks", std::to_string(GetParam().ranks()), "--set",
                                                          "parallel.tp=" + std::to_string(GetParam().tp), "--set", "parallel.pp=" + std::to_string(GetParam().pp)}).output);
  EXPECT_NE(outcome.output.find(std::to_string(plan["total"].get<long long>()) + " bytes"), std::string::npos) << "train's table has another total than plan's";
}
INSTANTIATE_TEST_SUITE_P(Layouts, Memory, ::testing::Values(Layout{1, 1, 1}, Layout{2, 1, 1}, Layout{1, 2, 1}, Layout{1, 1, 2}),
                         [](const auto& layout) { return layout.param.name(); });

}  // namespace
}  // namespace drover
