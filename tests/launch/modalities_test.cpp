// Text with spans of another modality: small pictures, as codes of a palette, from JSONL to a trained model.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Outcome;

constexpr int kPictures = 600, kCodes = 16, kColours = 8, kVocabulary = 310;

// "A red line across blue ground" and its 4 x 4 points of the palette: what the words say, so that there is something to learn.
struct Modalities : ::testing::Test {
  Modalities() {
    const std::vector<std::string> colours{"black", "white", "red", "green", "blue", "yellow", "violet", "grey"};
    std::ofstream words(sandbox.path() / "words.txt"), pictures(sandbox.path() / "pictures.jsonl");
    for (int i = 0; i < kPictures; ++i) {
      const int colour = i % kColours, ground = i / kColours % kColours;
      const bool across = i / (kColours * kColours) % 2 == 0;
      const std::string text = "A " + colours[static_cast<size_t>(colour)] + " line " + (across ? "across " : "down ") +
                               colours[static_cast<size_t>(ground)] + " ground: ";
      nlohmann::json codes = nlohmann::json::array();
      for (int point = 0; point < kCodes; ++point) codes.push_back((across ? point / 4 : point % 4) == 1 ? colour : ground);
      words << text << "so it is.\n";
      pictures << nlohmann::json{{"text", {text, {{"picture", codes}}, " so it is."}}}.dump() << "\n";
    }
    words.close();
    pictures.close();
    sandbox.expect({"tokenizer", "train", "--vocab", "300", "--out", "words.json", "words.txt"}, 0, {});
    sandbox.expect({"tokenizer", "add-range", "words.json", "picture=8", "--out", "both.json"}, 0, {});
    sandbox.expect({"prepare", "--tokenizer", "both.json", "--out", "pictures", "pictures.jsonl"}, 0, {});
    sandbox.configure({{"data.train", "pictures"},
                       {"data.validation", "pictures"},
                       {"model.vocab", std::to_string(kVocabulary)},
                       {"train.sequence", "64"},
                       {"train.validate_every", "0"}});
  }
  testing::Sandbox sandbox;
};

TEST_F(Modalities, AreLearntWithTheText) {
  sandbox.expect({"tokenizer", "inspect", "both.json"}, 0, {"range       picture: 8 codes, ids 302 to 309, between 300 and 301"});
  sandbox.expect({"data", "inspect", "pictures"}, 0, {"picture: 9600 tokens in 600 spans", "<|begin_picture|><|picture:0|>"});
  const Outcome trained = sandbox.train({2, 1, 1}, "run", {"train.steps=150", "optimizer.lr=0.01"});
  ASSERT_EQ(trained.code, 0) << trained.output;
  const auto rows = sandbox.metrics("run");
  EXPECT_LT(rows.back()["validation_loss"].get<double>(), 0.5);
  EXPECT_FALSE(rows.back().contains("bits_per_byte")) << "the loss is not of text alone";
  const std::string shown = sandbox.expect(
      {"generate", "run", "--prompt", "A red line across blue ground: ", "--max-tokens", "30", "--temperature", "0"}, 0, {});
  EXPECT_NE(shown.find("<|begin_picture|><|picture:4|><|picture:4|><|picture:4|><|picture:4|><|picture:2|><|picture:2|>"),
            std::string::npos)
      << shown;
}

// At weights that stay as they are, the validation's loss is the weighted mean of what the codes and what all else cost.
TEST_F(Modalities, CodesCountAsTheirWeightSays) {
  std::map<std::string, double> loss, tokens;
  for (const std::string weight : {"0", "0.5", "1", "3"}) {
    const Outcome outcome =
        sandbox.train({}, "weight_" + weight,
                      {"train.steps=1", "optimizer.warmup_steps=1", "optimizer.lr=1e-30", "data.loss_weights.picture=" + weight});
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    loss[weight] = sandbox.metrics("weight_" + weight).back()["validation_loss"];
    const size_t at = outcome.output.rfind(" tokens)"), begin = outcome.output.rfind('(', at);
    tokens[weight] = std::stod(outcome.output.substr(begin + 1));
  }
  const double text = tokens["0"], codes = tokens["1"] - tokens["0"];
  EXPECT_NEAR(codes, kPictures * kCodes, 64) << "all but those of the last, shortened sample";
  const double of_text = loss["0"] * text, of_codes = loss["1"] * (text + codes) - of_text;
  EXPECT_GT(std::abs(of_text / text - of_codes / codes), 1e-3) << "they cost the same: nothing would be shown";
  for (const double weight : {0.5, 3.0})
    EXPECT_NEAR(loss[weight == 3 ? "3" : "0.5"], (of_text + weight * of_codes) / (text + weight * codes), 1e-5) << weight;
}

TEST_F(Modalities, WhatCannotBeIsSaid) {
  for (std::vector<std::string> command :
       {std::vector<std::string>{"train", "config.yaml"}, {"plan", "config.yaml", "--ranks", "1"}}) {
    command.insert(command.end(), {"--set", "data.loss_weights.image=0.5"});
    sandbox.expect(command, 2, {"data.loss_weights.image: tokenizer bpe-310-", "has no range of that name; it has picture"});
  }
  const auto refused = [&](const std::string& record, const std::vector<std::string>& words) {
    std::ofstream(sandbox.path() / "bad.jsonl") << record << "\n";
    sandbox.expect({"prepare", "--tokenizer", "both.json", "--out", "bad", "bad.jsonl"}, 4, words);
  };
  refused(R"({"text": ["a", {"image": [1]}]})",
          {"bad.jsonl:1: field \"text\", part 2: the tokenizer has no range \"image\" (it has picture)"});
  refused(R"({"text": [{"picture": [1, 8]}]})", {"part 1: 8 is no code of range \"picture\", which has 0 to 7"});
  refused(R"({"text": [{"picture": [-1]}]})", {"-1 is no code of range"});
  refused(R"({"text": [{"picture": ["1"]}]})", {"part 1: neither text nor a span of codes such as {\"image\": [17, 4]}"});
  refused(R"({"text": [17]})", {"part 1: neither text nor a span"});
  refused(R"({"text": [{"picture": [1], "words": [2]}]})", {"part 1: neither text nor a span"});
  sandbox.expect({"tokenizer", "add-range", "both.json", "picture=4", "--out", "more.json"}, 2,
                 {"has a range \"picture\" already"});
  for (const std::string range : {"picture", "", "sound=", "sound=-1", "sound=4x"})
    sandbox.expect({"tokenizer", "add-range", "both.json", range, "--out", "more.json"}, 2, {"\"" + range + "\" is no NAME=SIZE"});
  sandbox.expect({"tokenizer", "add-range", "both.json", "Big one=4", "--out", "more.json"}, 2, {"a name has letters a to z"});
}

}  // namespace
}  // namespace drover
