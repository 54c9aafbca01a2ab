// The harness's model on one rank against numbers that were written down once: nothing changed the arithmetic unnoticed. The file holds a
// tolerance, not bits: processors and libraries round differently.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, LossesAreAsWrittenDown) {
  const auto golden = nlohmann::json::parse(std::ifstream(DROVER_SOURCE_DIR "/tests/golden/losses_" + GetParam() + ".json"));
  testing::Sandbox sandbox;
  sandbox.configure(
      {{"precision.compute", GetParam()}, {"model.kv_heads", "2"}, {"model.qkv_bias", "true"}, {"model.tied_embeddings", "true"}});
  const auto outcome = sandbox.train({}, "run");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  nlohmann::json losses = nlohmann::json::array();
  for (const auto& row : sandbox.metrics("run")) losses.push_back(row["loss"]);
  ASSERT_EQ(losses.size(), golden["losses"].size()) << losses;
  const double bound = golden["relative_tolerance"];
  for (size_t i = 0; i < losses.size(); ++i) {
    const double expected = golden["losses"][i], actual = losses[i];
    EXPECT_LE(std::abs(actual - expected), bound * expected) << "step " << i + 1 << ": " << actual << ", written down " << expected;
  }
  if (HasFailure())
    std::printf("if the change is meant, the file becomes:\n%s\n",
                nlohmann::json{{"relative_tolerance", bound}, {"losses", losses}}.dump(1).c_str());
}
INSTANTIATE_TEST_SUITE_P(Precision, Golden, ::testing::Values("f32", "bf16"), [](const auto& test) { return test.param; });

}  // namespace
}  // namespace drover
