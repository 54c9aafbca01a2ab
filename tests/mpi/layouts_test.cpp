// Any layout against one rank: initial weights bit for bit; losses of 20 steps and every parameter's gradient of step 1 within rounding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;
using Keys = std::map<std::string, std::string>;

// Observed over all layouts below: losses 1e-7, norms 4e-6, gradients 5e-7. A wrong reduction, mask or order is wrong by far more.
constexpr double kBound = 1e-5;
// bf16 keeps 8 bits, and layouts round partial sums at other places: half a unit, 2^-9, in each activation, which depth adds up in the
// gradients and the mean over tokens averages out of the loss. Observed: losses 7e-5, gradients 6e-3.
constexpr double kBf16Losses = 2e-3, kBf16Gradients = 4e-2;

struct Case {
  std::string name;
  Layout layout;
  Keys keys;                             // of both runs
  std::vector<std::string> only_layout;  // of the run on many ranks alone: what must change nothing but rounding
};

std::vector<nlohmann::json> train(const Sandbox& sandbox, const Layout& layout, const std::string& run,
                                  const std::vector<std::string>& set = {}) {
  const testing::Outcome outcome = sandbox.train(layout, run, set);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  return outcome.code == 0 ? sandbox.metrics(run) : std::vector<nlohmann::json>{};
}

void expect_parity(const Case& test) {
  Sandbox sandbox;
  Keys keys = test.keys;
  keys.insert({{"checkpoint.every", "1"}, {"checkpoint.keep", "0"}, {"checkpoint.gradients", "true"}});
  keys.insert({{"data.validation", "data"}, {"train.validate_every", "10"}, {"train.validation_batches", "2"}});
  sandbox.configure(keys);
  const auto one = train(sandbox, {}, "one"), many = train(sandbox, test.layout, "many", test.only_layout);
  ASSERT_EQ(one.size(), 22u);  // 20 steps, two validations
  ASSERT_EQ(one.back()["step"], 20);
  ASSERT_TRUE(one.back().contains("validation_loss"));
  EXPECT_LT(one.back()["validation_loss"].get<double>(), one.front()["loss"].get<double>() - 1)
      << "nothing was learnt: the comparison would be empty";
  for (const nlohmann::json& row : one) EXPECT_GT(row.value("grad_norm", 1.0), 0.5) << "clipping is not active in " << row;
  const bool bf16 = keys.contains("precision.compute");
  EXPECT_LE(testing::largest_difference(one, many, "loss"), bf16 ? kBf16Losses : kBound);
  EXPECT_LE(testing::largest_difference(one, many, "validation_loss"), bf16 ? kBf16Losses : kBound);
  EXPECT_LE(testing::largest_difference(one, many, "grad_norm"), bf16 ? kBf16Gradients : kBound);
  EXPECT_EQ(testing::largest_difference(one, many, "lr"), 0);
  EXPECT_EQ(testing::largest_difference(one, many, "tokens"), 0);
  testing::expect_equal_tensors(sandbox.checkpoint("one", 0), sandbox.checkpoint("many", 0));
  const double gradients = testing::worst_tensor(sandbox.checkpoint("one", 1), sandbox.checkpoint("many", 1), "gradient");
  EXPECT_LE(gradients, bf16 ? kBf16Gradients : kBound);
  std::printf("losses %.1e, norms %.1e, gradients %.1e\n", testing::largest_difference(one, many, "loss"),
              testing::largest_difference(one, many, "grad_norm"), gradients);
}

class Layouts : public ::testing::TestWithParam<Case> {};
TEST_P(Layouts, AgreesWithOneRank) { expect_parity(GetParam()); }
void PrintTo(const Case& test, std::ostream* stream) { *stream << test.name; }

std::string case_name(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

// Every power-of-two (dp, tp, pp) of at most 8 ranks, with 3 replicas and 3 stages besides. 24 sequences in micro-batches of one, several
// documents a sample, clipping active. A vocabulary of 258 is padded at tp 4 and 8. Half of them tied, every third with biases.
std::vector<Case> all_layouts() {
  std::vector<Layout> layouts{{3, 1, 1}, {1, 1, 3}, {3, 1, 2}, {1, 2, 3}};
  for (int dp = 1; dp <= 8; dp *= 2)
    for (int tp = 1; dp * tp <= 8; tp *= 2)
      for (int pp = 1; dp * tp * pp <= 8; pp *= 2) layouts.push_back({dp, tp, pp});
  std::vector<Case> cases;
  for (size_t i = 0; i < layouts.size(); ++i) {
    Keys keys{{"model.tied_embeddings", i % 2 == 0 ? "true" : "false"}, {"model.qkv_bias", i % 3 == 0 ? "true" : "false"}};
    if (layouts[i].tp < 8) keys["model.kv_heads"] = "4";
    if (layouts[i].pp == 8) keys["model.layers"] = "9";  // stages of one and two layers
    if (layouts[i].pp == 3) keys["model.layers"] = "5";
    cases.push_back({layouts[i].name(), layouts[i], keys, {}});
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(All, Layouts, ::testing::ValuesIn(all_layouts()), case_name);

const Keys kTied{{"model.tied_embeddings", "true"}}, kBf16{{"precision.compute", "bf16"}};
INSTANTIATE_TEST_SUITE_P(
    Variants, Layouts,
    ::testing::Values(
        Case{"fewer_micro_batches_than_stages", {1, 1, 4}, {{"train.micro_batch", "8"}}, {}},
        Case{"one_micro_batch", {2, 1, 4}, {{"train.micro_batch", "12"}}, {}},
        Case{"micro_batches_no_multiple_of_stages", {2, 1, 4}, {{"train.global_batch", "14"}}, {}},
        Case{"more_micro_batches_than_one_rank", {1, 2, 2}, {{"train.micro_batch", "6"}}, {"train.micro_batch=2"}},
        Case{"micro_batch_of_three", {2, 2, 2}, kTied, {"train.micro_batch=3"}}, Case{"tied_embeddings", {2, 2, 2}, kTied, {}},
        Case{"untied_with_bias_and_groups", {2, 2, 2}, {{"model.qkv_bias", "true"}, {"model.kv_heads", "2"}}, {}},
        Case{"tied_at_tp8", {1, 8, 1}, kTied, {}}, Case{"untied_at_tp8", {1, 8, 1}, {}, {}},
        Case{"tied_at_tp4", {1, 4, 2}, kTied, {}}, Case{"zero_0", {4, 2, 1}, {}, {"parallel.zero=0"}},
        Case{"zero_0_with_stages", {2, 2, 2}, kTied, {"parallel.zero=0"}},
        Case{"without_document_mask", {2, 2, 2}, {{"data.document_mask", "false"}}, {}},
        Case{"head_dim_given", {2, 2, 1}, {{"model.head_dim", "6"}}, {}},
        Case{
            "llama_3_1_rope", {2, 2, 2}, {{"model.rope_scaling.factor", "8"}, {"model.rope_scaling.original_positions", "16"}}, {}},
        Case{"recompute", {2, 2, 2}, {}, {"train.recompute=block"}}, Case{"bf16_dp2_tp2_pp2", {2, 2, 2}, kBf16, {}},
        Case{"bf16_dp4", {4, 1, 1}, kBf16, {}}, Case{"bf16_tp4", {1, 4, 1}, kBf16, {}}, Case{"bf16_pp4", {1, 1, 4}, kBf16, {}}),
    case_name);

// bf16 differs from f32 by rounding alone: half a unit of 8 bits, averaged over the tokens of a step. Observed: 4e-4.
TEST(Bf16, LossesFollowThoseOfF32) {
  Sandbox sandbox;
  sandbox.configure({{"model.qkv_bias", "true"}, {"model.kv_heads", "2"}});
  const auto wide = train(sandbox, {}, "f32"), narrow = train(sandbox, {}, "bf16", {"precision.compute=bf16"});
  const double difference = testing::largest_difference(wide, narrow, "loss");
  EXPECT_LE(difference, kBf16Losses);
  EXPECT_GT(difference, 0);
  std::printf("losses %.1e\n", difference);
}

// One rank: accumulation is a sum in another order.
TEST(MicroBatches, ChangeOnlyRounding) {
  Sandbox sandbox;
  sandbox.configure({});
  const auto one = train(sandbox, {}, "micro_1");
  for (const std::string size : {"2", "3", "8", "24"}) {
    const auto other = train(sandbox, {}, "micro_" + size, {"train.micro_batch=" + size});
    EXPECT_LE(testing::largest_difference(one, other, "loss"), kBound) << size;
    EXPECT_LE(testing::largest_difference(one, other, "grad_norm"), kBound) << size;
  }
}

// The validation loss is a mean over the tokens of the whole set, however they come: in one batch or several, the last filled up or not, on
// one rank or two. The weights are the initial ones.
TEST(Validation, LossIsOfTheWholeSet) {
  Sandbox sandbox;
  sandbox.configure(
      {{"data.validation", "data"}, {"train.steps", "1"}, {"optimizer.warmup_steps", "1"}, {"optimizer.lr", "1e-30"}});
  // Each target once, but those that begin a document: bytes of text, and a token at the end of each that has no text.
  std::vector<int> stream;
  std::ifstream corpus(sandbox.path() / "corpus.jsonl");
  for (std::string line; std::getline(corpus, line);) {
    const auto text = nlohmann::json::parse(line)["text"].get<std::string>();
    stream.push_back(256);
    stream.insert(stream.end(), text.begin(), text.end());
    stream.push_back(257);
  }
  const size_t sequence = 32;
  const auto last = stream.begin() + static_cast<std::ptrdiff_t>((stream.size() - 1) / sequence * sequence);
  const auto bytes = static_cast<double>(std::count_if(stream.begin() + 1, last + 1, [](int id) { return id < 256; }));
  const auto tokens = static_cast<double>(std::count_if(stream.begin() + 1, last + 1, [](int id) { return id != 256; }));
  const auto loss = [&](const Layout& layout, const std::string& batch) {
    const auto rows = train(sandbox, layout, layout.name() + "_" + batch, {"train.global_batch=" + batch});
    if (rows.empty()) return 0.0;
    const double nats = rows.back().value("validation_loss", 0.0), bits = rows.back().value("bits_per_byte", 0.0);
    EXPECT_NEAR(bits, nats * tokens / bytes / std::log(2), 1e-12 * bits) << layout.name();
    return nats;
  };
  const double expected = loss({}, "24");
  EXPECT_GT(expected, 1);
  EXPECT_NEAR(loss({}, "2"), expected, kBound * expected);
  EXPECT_NEAR(loss({}, "100"), expected, kBound * expected);
  EXPECT_NEAR(loss({2, 1, 1}, "64"), expected, kBound * expected);
  EXPECT_NEAR(loss({1, 2, 2}, "24"), expected, kBound * expected);
}

class SameBits : public ::testing::TestWithParam<std::string> {};

void expect_same_bits(const Layout& layout, const std::string& precision, const std::string& left, const std::string& right) {
  SCOPED_TRACE(layout.name() + " " + precision);
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "5"}, {"precision.compute", precision}, {"checkpoint.gradients", "true"}});
  const auto a = train(sandbox, layout, "left", {left}), b = train(sandbox, layout, "right", {right});
  EXPECT_EQ(testing::without_timings(a), testing::without_timings(b));
  testing::expect_equal_tensors(sandbox.checkpoint("left", 5), sandbox.checkpoint("right", 5));
}

TEST_P(SameBits, RecomputeOnAndOff) {
  for (const Layout& layout : {Layout{1, 1, 1}, Layout{1, 1, 4}, Layout{2, 2, 2}})
    expect_same_bits(layout, GetParam(), "train.recompute=block", "train.recompute=none");
}
TEST_P(SameBits, Repeated) { expect_same_bits({2, 2, 2}, GetParam(), "train.steps=5", "train.steps=5"); }
// ZeRO stages 0 and 1 reduce in another order only when there are several replicas.
TEST_P(SameBits, ZeroWithoutReplicas) { expect_same_bits({1, 2, 2}, GetParam(), "parallel.zero=0", "parallel.zero=1"); }
INSTANTIATE_TEST_SUITE_P(Precision, SameBits, ::testing::Values("f32", "bf16"), [](const auto& test) { return test.param; });

// A vocabulary so large that the logits of a micro-batch never are there at once: several chunks, divided over ranks.
TEST(LossChunks, DividedVocabularyAgreesWithOneRank) {
  Sandbox sandbox;
  sandbox.configure(
      {{"model.vocab", "200001"}, {"train.micro_batch", "24"}, {"train.steps", "3"}, {"optimizer.warmup_steps", "1"}});
  const auto one = train(sandbox, {}, "one");
  ASSERT_EQ(one.size(), 3u);
  for (const Layout& layout : {Layout{1, 2, 1}, Layout{1, 2, 2}}) {
    const auto many = train(sandbox, layout, layout.name());
    EXPECT_LE(testing::largest_difference(one, many, "loss"), kBound) << layout.name();
    EXPECT_LE(testing::largest_difference(one, many, "grad_norm"), kBound) << layout.name();
  }
}

// The program that `plan` shows is the one that runs.
class Actions : public ::testing::TestWithParam<Layout> {};
TEST_P(Actions, ExecutedAsPrinted) {
  const Layout& layout = GetParam();
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "1"}, {"optimizer.warmup_steps", "1"}, {"train.global_batch", "6"}, {"model.layers", "5"}});
  std::vector<std::string> arguments = sandbox.train_arguments(layout, "run", {});
  arguments.push_back("--log-actions");
  const testing::Outcome outcome = testing::run_command(sandbox.on_ranks(layout.ranks(), arguments), sandbox.path());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const auto printed = sandbox.drover({"plan", "config.yaml", "--ranks", std::to_string(layout.ranks()), "--set",
                                         "parallel.tp=" + std::to_string(layout.tp), "--set",
                                         "parallel.pp=" + std::to_string(layout.pp), "--program", std::to_string(rank)});
    ASSERT_EQ(printed.code, 0) << printed.output;
    std::ifstream file(sandbox.path() / "run" / ("actions_rank_" + std::to_string(rank) + ".txt"));
    const std::string executed{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(printed.output, executed) << "rank " << rank;
    EXPECT_GT(executed.size(), 100u);
  }
}
INSTANTIATE_TEST_SUITE_P(All, Actions,
                         ::testing::Values(Layout{1, 1, 1}, Layout{2, 1, 1}, Layout{1, 2, 2}, Layout{1, 1, 5}, Layout{2, 1, 3}),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace drover
