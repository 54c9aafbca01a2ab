// Each recipe trains three steps at eight ranks in its own kind of layout, at small sizes.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Sandbox;

struct Recipe {
  std::string name;
  int64_t ranks;  // of the file's head
  int64_t parameters;
};

void PrintTo(const Recipe& recipe, std::ostream* out) { *out << recipe.name; }

class Recipes : public ::testing::TestWithParam<Recipe> {};

TEST_P(Recipes, FitsAndTrainsTiny) {
  const Recipe& recipe = GetParam();
  const std::string file = std::string(DROVER_SOURCE_DIR) + "/configs/" + recipe.name + ".yaml";
  Sandbox sandbox;
  const auto plan = sandbox.drover({"plan", file, "--ranks", std::to_string(recipe.ranks), "--json"});
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_LE(nlohmann::json::parse(plan.output)["total"].get<int64_t>(), int64_t{78} << 30);
  const auto text = sandbox.drover({"plan", file, "--ranks", std::to_string(recipe.ranks)});
  EXPECT_NE(text.output.find("model   " + std::to_string(recipe.parameters) + " parameters"), std::string::npos) << text.output;
  const auto trained =
      testing::run_command(sandbox.on_ranks(8, {"train", file, "--tiny", "--set", "run.dir=run", "--set", "data.train=data",
                                                "--set", "data.validation=data", "--set", "run.device=cpu"}),
                           sandbox.path());
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_EQ(sandbox.metrics("run").size(), 4u);  // three steps and the validation at the end
}
INSTANTIATE_TEST_SUITE_P(All, Recipes,
                         ::testing::Values(Recipe{"llama3_8b", 256, 8030261248}, Recipe{"llama3_70b", 1024, 70553706496},
                                           Recipe{"llama3_405b", 16384, 405853388800}, Recipe{"qwen2.5_7b", 128, 7615616512},
                                           Recipe{"llama3.2_1b_one_h100", 1, 1235814400}),
                         [](const auto& recipe) {
                           std::string name = recipe.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace drover
