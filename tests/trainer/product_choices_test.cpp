#include "trainer/product_choices.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"

namespace drover {
namespace {

ProductChoices some_choices() {
  ProductChoices choices{"cuBLASLt 13.1.0", "a \"GPU\"", {}};
  const GemmShape shape{DType::f32, DType::bf16, false, true, 24, 40, int64_t{1} << 40, 256, 64, 2};
  ProductChoice choice{{{}, 123.45e-6, 2, 8}, 3};
  for (size_t i = 0; i < choice.timed.algorithm.size(); ++i) choice.timed.algorithm[i] = std::byte(5 * i);
  choices.products.emplace(shape, choice);
  GemmShape other = shape;
  other.transpose_a = true;
  choices.products.emplace(other, choice);
  other.bias = true;
  choices.products.emplace(other, choice);
  return choices;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ProductChoices, ComeBackFromTheirText) {
  const ProductChoices choices = some_choices(), back = choices_from_json(to_json(choices));
  EXPECT_EQ(back.library, choices.library);
  EXPECT_EQ(back.gpu, choices.gpu);
  ASSERT_EQ(back.products.size(), 3u);
  for (const auto& [shape, choice] : choices.products) {
    const ProductChoice& found = back.products.at(shape);
    EXPECT_EQ(found.timed.algorithm, choice.timed.algorithm);
    EXPECT_DOUBLE_EQ(found.timed.seconds, choice.timed.seconds);
    EXPECT_EQ(found.timed.candidate, 2);
    EXPECT_EQ(found.timed.candidates, 8);
    EXPECT_EQ(found.rank, 3);
  }
  EXPECT_EQ(to_json(back), to_json(choices));
}

TEST(ProductChoices, EachProductHasALine) {
  const std::string text = to_json(some_choices());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5) << text;
}

TEST(ProductChoices, ShapesComeBackFromTheirText) {
  std::vector<GemmShape> shapes;
  for (const auto& [shape, choice] : some_choices().products) shapes.push_back(shape);
  EXPECT_EQ(shapes_from_json(to_json(shapes)), shapes);
  EXPECT_TRUE(shapes_from_json(to_json(std::vector<GemmShape>{})).empty());
}

TEST(ProductChoices, DamageIsNamed) {
  const std::string text = to_json(some_choices());
  const auto expect_refused = [](const std::string& damaged, const std::string& word) {
    try {
      choices_from_json(damaged);
      ADD_FAILURE() << "taken: " << damaged;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::resume);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  for (size_t length = 0; length + 1 < text.size(); ++length)
    EXPECT_THROW(choices_from_json(text.substr(0, length)), Error) << length;
  expect_refused(replaced(text, "\"k\":", "\"q\":"), "'k'");
  expect_refused(replaced(text, "\"m\":24", "\"m\":0"), "m 0");
  expect_refused(replaced(text, "\"m\":24", "\"m\":\"24\""), "number");
  expect_refused(replaced(text, "\"bf16\"", "\"i32\""), "i32");
  expect_refused(replaced(text, "[256,64,2]", "[256,48,2]"), "48 bytes");
  expect_refused(replaced(text, "[256,64,2]", "[256,64]"), "2");
  expect_refused(replaced(text, "00050a", "00050g"), "64 bytes");
  expect_refused(replaced(text, "00050a", "050a"), "64 bytes");
  expect_refused(replaced(text, "\"transpose_a\":true", "\"transpose_a\":false"), "is there twice");
}

}  // namespace
}  // namespace drover
