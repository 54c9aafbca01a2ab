#include "trainer/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>

#include "kernels/adamw.h"
#include "kernels/base/hash.h"
#include "parallel/silent_communicator.h"
#include "tests/trainer/testing.h"

namespace drover {
namespace {

using namespace testing;  // NOLINT: the test's own helpers

TEST(Engine, LossStartsUniformAndFalls) {
  const Config config = small_config();
  OneRank one(config, 3);
  Engine& engine = one.engine;
  const std::vector<Batch>& batches = one.batches;
  const StepResult first = engine.step(1, batches);
  EXPECT_NEAR(first.loss, std::log(258.0), 0.1);
  EXPECT_EQ(first.weight, 4 * 16);
  EXPECT_FALSE(first.skipped);
  EXPECT_FALSE(first.stop);
  StepResult last;
  for (int step = 2; step <= 10; ++step) last = engine.step(step, batches, {.stop = [step] { return step == 10; }});
  EXPECT_LT(last.loss, first.loss - 1);
  EXPECT_TRUE(last.stop);
  EXPECT_EQ(engine.applied(), 10);
}

// The derivative of the loss along the gradient, by central differences through evaluate(), is the squared norm of the gradient.
TEST(Engine, GradientIsTheDerivativeOfTheLoss) {
  for (const bool tied : {false, true}) {
    Config config = small_config();
    config.model.tied_embeddings = tied;
    config.model.qkv_bias = true;
    config.optimizer.lr = 1e-30;  // the step only makes gradients
    config.optimizer.weight_decay = 0;
    OneRank one(config, 5);
    Engine& engine = one.engine;
    const std::vector<Batch>& batches = one.batches;
    const StepResult result = engine.step(1, batches);
    const std::vector<Piece> pieces = engine.owned_pieces(true);
    double squared = 0;
    for (float g : values_of(pieces, "gradient")) squared += static_cast<double>(g) * g;
    EXPECT_NEAR(std::sqrt(squared), result.grad_norm, 1e-5 * result.grad_norm);

    std::vector<std::vector<float>> saved;
    std::vector<Piece> masters, gradients;
    for (const Piece& piece : pieces) {
      if (piece.array == "master") masters.push_back(piece);
      if (piece.array == "gradient") gradients.push_back(piece);
    }
    ASSERT_EQ(masters.size(), gradients.size());
    const auto loss_at = [&](double move) {
      saved.clear();
      for (size_t i = 0; i < masters.size(); ++i) {
        const int64_t count = masters[i].rectangle.extent.count();
        saved.emplace_back(masters[i].data, masters[i].data + count);
        for (int64_t j = 0; j < count; ++j)
          masters[i].data[j] = static_cast<float>(masters[i].data[j] + move * gradients[i].data[j] / result.grad_norm);
      }
      engine.publish();
      const EvaluationResult value = engine.evaluate(batches);
      for (size_t i = 0; i < masters.size(); ++i) std::copy(saved[i].begin(), saved[i].end(), masters[i].data);
      return value.loss_sum / value.weight_sum;
    };
    const double h = 1e-2;
    const double slope = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
    EXPECT_NEAR(slope, result.grad_norm, 2e-3 * result.grad_norm) << "tied " << tied;
  }
}

std::vector<float> masters_after(const Config& config, int steps) {
  SelfGroups self;
  Engine engine(config, Mesh(config.parallel), 0, self.groups());
  engine.initialize();
  const std::vector<Batch> batches = step_buffers(engine);
  for (int step = 1; step <= steps; ++step) {
    fill_batches(batches, config.train.sequence, static_cast<uint64_t>(step));
    engine.step(step, batches);
  }
  return values_of(engine.owned_pieces(false), "master");
}

// Two documents in one sample against each in a sample of its own, filled up with another document that does not count. Gradients of the
// weighted loss sum add up.
struct LossAndGradients {
  double loss_sum = 0;
  std::vector<double> gradients;  // of the loss sum
};

struct Document {
  int64_t begin, tokens;  // where its tokens stand in the text below
};

LossAndGradients of_one_sample(Config config, const std::vector<Document>& documents, bool mask) {
  config.train.global_batch = 1;
  config.train.micro_batch = 1;
  config.optimizer.lr = 1e-30;
  config.model.qkv_bias = true;
  SelfGroups self;
  Engine engine(config, Mesh(config.parallel), 0, self.groups());
  engine.initialize();
  const std::vector<Batch> batches = step_buffers(engine);
  const Batch& batch = batches.front();
  const auto text = [](int64_t i) { return static_cast<int32_t>((i * 37 + i * i) % 251); };
  int64_t t = 0;
  const auto put = [&](const Document& document, float weight) {
    const int64_t first = t;
    for (int64_t i = 0; i < document.tokens; ++i, ++t) {
      batch.token.as<int32_t>()[t] = text(document.begin + i);
      batch.target.as<int32_t>()[t] = text(document.begin + i + 1);
      batch.position.as<int32_t>()[t] = static_cast<int32_t>(mask ? i : t);
      batch.document_begin.as<int32_t>()[t] = static_cast<int32_t>(mask ? first : 0);
      batch.weight.as<float>()[t] = i + 1 == document.tokens ? 0 : weight;  // the next token is another document's
    }
  };
  for (const Document& document : documents) put(document, 1);
  if (t < config.train.sequence) put({100, config.train.sequence - t}, 0);
  const StepResult result = engine.step(1, batches);
  LossAndGradients out{result.loss * result.weight, {}};
  for (const float gradient : values_of(engine.owned_pieces(true), "gradient")) out.gradients.push_back(gradient * result.weight);
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), norm += a[i] * a[i];
  return std::sqrt(difference / norm);
}

TEST(Engine, PackedEqualsSeparate) {
  const Config config = small_config();
  const Document first{0, 7}, second{40, 9};
  const LossAndGradients packed = of_one_sample(config, {first, second}, true),
                         mixed = of_one_sample(config, {first, second}, false);
  const LossAndGradients one = of_one_sample(config, {first}, true), two = of_one_sample(config, {second}, true);
  ASSERT_EQ(packed.gradients.size(), one.gradients.size());
  std::vector<double> sum = one.gradients;
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += two.gradients[i];
  EXPECT_NEAR(packed.loss_sum, one.loss_sum + two.loss_sum, 1e-6 * packed.loss_sum);
  EXPECT_LE(distance(packed.gradients, sum), 1e-6);
  EXPECT_GT(distance(mixed.gradients, sum), 1e-2)
      << "without the mask the documents see each other: otherwise this test would be empty";
}

TEST(Engine, RecomputeGivesTheSameBits) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    Config config = small_config();
    config.precision.compute = precision;
    const std::vector<float> kept = masters_after(config, 3);
    config.train.recompute = Recompute::block;
    EXPECT_EQ(kept, masters_after(config, 3));
  }
}

TEST(Engine, RepeatsToTheBit) {
  Config config = small_config();
  config.precision.compute = Precision::bf16;
  EXPECT_EQ(masters_after(config, 3), masters_after(config, 3));
}

TEST(Engine, WeightsAreTheMastersRounded) {
  Config config = small_config();
  config.precision.compute = Precision::bf16;
  OneRank one(config, 3);
  std::map<std::string, uint64_t> before;
  for (int step = 0; step <= 2; ++step) {
    if (step > 0) one.engine.step(step, one.batches);
    std::map<std::string, uint64_t> rounded;
    for (const Piece& piece : one.engine.owned_pieces(false)) {
      if (piece.array != "master") continue;
      std::vector<Bf16> weights;
      for (int64_t i = 0; i < piece.rectangle.extent.count(); ++i) weights.emplace_back(piece.data[i]);
      rounded[piece.name + " " + to_string(piece.rectangle.offset)] = xxh3(weights.data(), weights.size() * sizeof(Bf16));
    }
    EXPECT_EQ(one.engine.weight_hashes(), rounded) << "after step " << step;
    EXPECT_NE(rounded, before);
    before = rounded;
  }
}

TEST(Engine, NonFiniteGradientNeverReachesTheWeights) {
  const Config config = small_config();
  OneRank one(config, 3);
  Engine& engine = one.engine;
  const std::vector<Batch>& batches = one.batches;
  engine.step(1, batches);
  float* norm = nullptr;
  for (const Piece& piece : engine.owned_pieces(false))
    if (piece.array == "master" && piece.name == "model.layers.1.input_layernorm.weight") norm = piece.data;
  ASSERT_NE(norm, nullptr);
  norm[3] = std::numeric_limits<float>::quiet_NaN();
  engine.publish();
  const auto bits = [&](const std::string& array) {
    std::vector<uint32_t> all;
    for (const float value : values_of(engine.owned_pieces(false), array)) all.push_back(std::bit_cast<uint32_t>(value));
    return all;
  };
  const auto master = bits("master"), m = bits("m"), v = bits("v");
  const StepResult result = engine.step(2, batches);
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(engine.applied(), 1);
  EXPECT_EQ(bits("master"), master);
  EXPECT_EQ(bits("m"), m);
  EXPECT_EQ(bits("v"), v);
  EXPECT_EQ(engine.first_bad_tensor(), "lm_head.weight") << "a loss that is not finite spoils every gradient";
}

TEST(Engine, NamesTheBadTensorThatTheBackwardPassMadeFirst) {
  for (const bool tied : {false, true}) {
    Config config = small_config();
    config.model.tied_embeddings = tied;
    OneRank one(config, 3);
    Engine& engine = one.engine;
    const std::vector<Batch>& batches = one.batches;
    engine.step(1, batches);
    EXPECT_EQ(engine.first_bad_tensor(), "the loss");
    const std::vector<Piece> pieces = engine.owned_pieces(true);
    const std::string layer = "model.layers.1.";
    for (const std::string& name : {std::string("model.embed_tokens.weight"), std::string("model.layers.0.mlp.down_proj.weight"),
                                    layer + "self_attn.q_proj.weight", layer + "mlp.gate_proj.weight"}) {
      for (const Piece& piece : pieces)
        if (piece.array == "gradient" && piece.name == name)
          piece.data[piece.rectangle.extent.count() - 1] = std::numeric_limits<float>::infinity();
      EXPECT_EQ(engine.first_bad_tensor(), name) << "all of these after it are made later";
    }
  }
}

// N(0, 0.02), what is added to the residual stream less by sqrt(2 layers), norms 1, biases 0.
TEST(Engine, InitialWeightsAreAsDescribed) {
  Config config = small_config();
  config.model.qkv_bias = true;
  config.model.hidden = 64;
  SelfGroups self;
  Engine engine(config, Mesh(config.parallel), 0, self.groups());
  engine.initialize();
  int checked = 0;
  for (const Piece& piece : engine.owned_pieces(false)) {
    if (piece.array != "master") continue;
    const int64_t count = piece.rectangle.extent.count();
    const auto ends_with = [&](const char* text) { return piece.name.ends_with(text); };
    if (ends_with("bias") || ends_with("norm.weight")) {
      for (int64_t i = 0; i < count; ++i) ASSERT_EQ(piece.data[i], ends_with("bias") ? 0.0f : 1.0f) << piece.name;
    } else {
      const bool projection = ends_with("o_proj.weight") || ends_with("down_proj.weight");
      const double deviation = projection ? 0.02 / std::sqrt(2.0 * 3) : 0.02, n = static_cast<double>(count);
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < count; ++i) sum += piece.data[i], squares += static_cast<double>(piece.data[i]) * piece.data[i];
      EXPECT_LT(std::abs(sum / n), 5 * deviation / std::sqrt(n)) << piece.name;
      EXPECT_NEAR(std::sqrt(squares / n), deviation, 5 * deviation / std::sqrt(2 * n)) << piece.name;
    }
    ++checked;
  }
  EXPECT_EQ(checked, 2 + 1 + 3 * 12);
}

// The world as one of two ranks sees it, when the other adds these sums and has no part in the loss.
class WorldOfTwo final : public SilentCommunicator {
 public:
  WorldOfTwo(StepSum slot, double value) : SilentCommunicator(0, 2, "world"), slot_(slot), value_(value) {}
  void all_reduce(Stream&, TensorView inout, ReduceOp) override { inout.as<double>()[slot_] += value_; }

 private:
  StepSum slot_;
  double value_;
};

struct StepBesideAnother {
  StepResult result;
  bool changed = false;  // some master weight
};
StepBesideAnother step_beside(WorldOfTwo&& world) {
  const Config config = small_config();
  SelfGroups self;
  Groups groups{world, *self.self, *self.self, *self.self, *self.self, *self.self};
  Engine engine(config, Mesh(config.parallel), 0, groups);
  engine.initialize();
  const std::vector<Batch> batches = step_buffers(engine);
  fill_batches(batches, config.train.sequence, 3);
  const std::vector<float> before = values_of(engine.owned_pieces(false), "master");
  const StepResult result = engine.step(1, batches);
  return {result, values_of(engine.owned_pieces(false), "master") != before};
}

TEST(Engine, StopsWhenAnotherRankIsAskedTo) {
  EXPECT_FALSE(step_beside({stop_requests, 0}).result.stop);
  EXPECT_TRUE(step_beside({stop_requests, 1}).result.stop);
}

TEST(Engine, StopsAfterTheStepInWhichItWasAsked) {
  const Config config = small_config();
  OneRank one(config, 3);
  Engine& engine = one.engine;
  const std::vector<Batch>& batches = one.batches;
  bool asked = false;
  const StepRequest request{.stop = [&] { return asked; }};
  EXPECT_FALSE(engine.step(1, batches, request).stop);
  engine.log_actions([&](const Action& action) { asked = asked || action.op == Op::backward; });
  EXPECT_TRUE(engine.step(2, batches, request).stop);
}

TEST(Engine, SkipsWhenAnotherRanksGradientIsNotFinite) {
  EXPECT_TRUE(step_beside({squared_norm, 1}).changed);
  const StepBesideAnother beside = step_beside({squared_norm, std::numeric_limits<double>::infinity()});
  EXPECT_TRUE(beside.result.skipped);
  EXPECT_FALSE(beside.changed);
}

// A rank without data runs the step on other data; all throw it away.
TEST(Engine, AStepWithoutDataLeavesEverything) {
  const Config config = small_config();
  std::vector<std::vector<float>> states;
  for (const bool interrupted : {false, true}) {
    SelfGroups self;
    Engine engine(config, Mesh(config.parallel), 0, self.groups());
    engine.initialize();
    const std::vector<Batch> batches = step_buffers(engine);
    for (int step = 1; step <= 3; ++step) {
      if (interrupted) {
        fill_batches(batches, config.train.sequence, 100);
        const StepResult thrown = engine.step(step, batches, {.stop = [step] { return step == 2; }, .no_data = true});
        EXPECT_EQ(thrown.waiting, 1);
        EXPECT_EQ(thrown.stop, step == 2);
        EXPECT_FALSE(thrown.skipped) << "the data was no bad data";
        EXPECT_EQ(engine.evaluate(batches, {.no_data = true}).waiting, 1);
        EXPECT_EQ(engine.applied(), step - 1);
        const std::vector<Piece> pieces = engine.owned_pieces(true);
        EXPECT_TRUE(std::none_of(pieces.begin(), pieces.end(), [](const Piece& piece) { return piece.array == "gradient"; }));
      }
      fill_batches(batches, config.train.sequence, static_cast<uint64_t>(step));
      EXPECT_EQ(engine.step(step, batches).waiting, 0);
    }
    for (const char* array : {"master", "m", "v"}) states.push_back(values_of(engine.owned_pieces(false), array));
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(states[i], states[i + 3]);
}

TEST(Engine, RecomputeTradesActivationsForProducts) {
  Config config = small_config();
  const auto measured = [&](Recompute recompute) {
    config.train.recompute = recompute;
    OneRank one(config, 3);
    Engine& engine = one.engine;
    const std::vector<Batch>& batches = one.batches;
    engine.step(1, batches);
    return std::pair{engine.memory().used_by("activations"), engine.stream().totals(OpKind::gemm).flops};
  };
  const auto [kept, flops] = measured(Recompute::none);
  const auto [less, more] = measured(Recompute::block);
  EXPECT_LT(less, kept / 2) << "one block's activations instead of three";
  // Of a block's products, the one of `down` is not made again.
  const ModelConfig& m = config.model;
  const int64_t block = m.hidden * (m.heads + 2 * m.kv_heads) * m.head_dim + m.heads * m.head_dim * m.hidden + 2 * m.hidden * m.ffn;
  EXPECT_EQ(more - flops, 2 * m.layers * block * config.train.global_batch * config.train.sequence);
}

TEST(Engine, GemmFlopsAreTheFormulas) {
  const Config config = small_config();
  OneRank one(config, 3);
  Engine& engine = one.engine;
  const std::vector<Batch>& batches = one.batches;
  engine.stream().reset_totals();
  engine.step(1, batches);
  const ModelConfig& m = config.model;
  const int64_t matmul =
      m.layers * (m.hidden * (m.heads + 2 * m.kv_heads) * m.head_dim + m.heads * m.head_dim * m.hidden + 3 * m.hidden * m.ffn) +
      m.hidden * m.vocab;
  EXPECT_EQ(engine.stream().totals(OpKind::gemm).flops, 6 * matmul * config.train.global_batch * config.train.sequence);
}

}  // namespace
}  // namespace drover
