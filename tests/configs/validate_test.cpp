// Every rule broken once, with what the message offers instead; parameter counts of published models; learning rates by hand.
#include "configs/validate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "configs/schema.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

const std::string kText = R"(model:
  layers: 4
  hidden: 64
  heads: 8
  kv_heads: 4
  ffn: 96
  vocab: 258
train:
  steps: 10
  global_batch: 24
  micro_batch: 2
  sequence: 32
optimizer:
  lr: 0.001
data:
  train: data
)";

LoadedConfig load(const std::vector<std::string>& overrides) {
  LoadedConfig loaded = load_config_text(kText, "configs/my.yaml", overrides);
  EXPECT_TRUE(loaded.violations.empty()) << loaded.violations.front().message;
  return loaded;
}

struct Broken {
  const char* name;
  std::vector<std::string> overrides;
  int64_t ranks;
  std::vector<std::string> says;  // parts of the message
  size_t violations = 1;
};
void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.name; }

class Rule : public testing::TestWithParam<Broken> {};

TEST_P(Rule, IsNamedWithAlternatives) {
  LoadedConfig loaded = load(GetParam().overrides);
  const std::vector<Violation> violations = resolve_and_validate(loaded, GetParam().ranks);
  ASSERT_FALSE(violations.empty());
  std::string all;
  for (const Violation& violation : violations) all += violation.where + ": " + violation.message + "\n";
  EXPECT_EQ(violations.size(), GetParam().violations) << all;
  for (const std::string& part : GetParam().says) EXPECT_NE(all.find(part), std::string::npos) << all << "lacks: " << part;
}

INSTANTIATE_TEST_SUITE_P(
    Each, Rule,
    testing::Values(
        Broken{"HeadDim",
               {"model.hidden=68"},
               1,
               {"model.hidden 68 is no multiple of model.heads 8: give model.head_dim", "--set model.hidden=68: "}},
        Broken{"KvHeads",
               {"model.kv_heads=3"},
               1,
               {"model.kv_heads 3 must divide model.heads 8", "divisors: 1, 2, 4, 8", "--set model.kv_heads=3"}},
        Broken{"OddHeadDim", {"model.head_dim=7"}, 1, {"model.head_dim 7 must be even"}},
        Broken{"RopeScaling",
               {"model.rope_scaling.factor=8", "model.rope_scaling.high_freq_factor=1"},
               1,
               {"must be above model.rope_scaling.low_freq_factor"}},
        Broken{"RopeScalingInF32",
               {"model.rope_scaling.factor=8", "model.rope_scaling.high_freq_factor=1.00000001"},
               1,
               {"must be above model.rope_scaling.low_freq_factor"}},
        Broken{"ContextParallel", {"parallel.cp=2"}, 2, {"parallel.cp 2", "not in this version; 1"}},
        Broken{"TpHeads",
               {"parallel.tp=8", "model.heads=12", "model.head_dim=8", "train.sequence=30"},
               8,
               {"parallel.tp 8 does not divide model.heads 12, model.kv_heads 4, train.micro_batch * train.sequence = 60; tp that "
                "work "
                "for this model and batch: 1, 2, 4"}},
        Broken{"TpKvHeads",
               {"parallel.tp=8"},
               8,
               {"parallel.tp 8 does not divide model.kv_heads 4", "tp that work for this model and batch: 1, 2, 4"}},
        Broken{"TpOfMany",
               {"parallel.tp=7", "model.heads=60000", "model.kv_heads=60000", "model.head_dim=2", "model.ffn=60000",
                "train.sequence=30000"},
               7,
               {"tp that work for this model and batch: 1, 2, 3, 4, 5, 6, ..., 60000 (60 in all)"}},
        Broken{"TpFfn",
               {"parallel.tp=4", "model.ffn=98"},
               4,
               {"parallel.tp 4 does not divide model.ffn 98", "tp that work for this model and batch: 1, 2"}},
        Broken{"TpTokens",
               {"parallel.tp=4", "train.micro_batch=1", "train.sequence=30"},
               4,
               {"does not divide train.micro_batch * train.sequence = 30", "1, 2"}},
        Broken{"TooManyStages", {"parallel.pp=5"}, 5, {"parallel.pp 5", "model.layers is 4; at most 4"}},
        Broken{"RanksIndivisible",
               {"parallel.tp=4"},
               6,
               {"6 ranks cannot be divided into tp 4 * pp 1", "start a multiple of 4 ranks",
                "for 6 ranks: tp 1 pp 1; tp 1 pp 2; tp 1 pp 3; tp 2 pp 1; tp 2 pp 3"}},
        Broken{"ManyLayouts",
               {"parallel.pp=4", "parallel.tp=4", "model.layers=64"},
               120,
               {"for 120 ranks: tp 1 pp 1; tp 1 pp 2; tp 1 pp 3; tp 1 pp 4; tp 1 pp 5; tp 1 pp 6; ...; tp 4 pp 30 (35 in all)"}},
        Broken{"WrongDp", {"parallel.dp=4"}, 2, {"dp 4 * tp 1 * pp 1 * cp 1 = 4 ranks, but the run has 2 ranks", "start 4 ranks"}},
        Broken{"Batch",
               {"train.global_batch=21"},
               2,
               {"train.global_batch 21 must be a multiple of train.micro_batch 2 * dp 2 = 4; nearest: 20 or 24"}},
        Broken{"BatchTooSmall", {"train.global_batch=3"}, 2, {"nearest: 4"}},
        Broken{"Warmup", {"optimizer.warmup_steps=11"}, 1, {"optimizer.warmup_steps 11 is above train.steps 10"}},
        Broken{"WeightDecay",
               {"optimizer.weight_decay=1e30"},
               1,
               {"optimizer.weight_decay 1e+30 * optimizer.lr 0.001 is above 1", "at most 1000"}},
        Broken{"DecayInTheWarmup",
               {"optimizer.schedule=wsd", "optimizer.warmup_steps=8", "optimizer.decay_fraction=0.5"},
               1,
               {"--set optimizer.decay_fraction=0.5: optimizer.decay_fraction 0.5 of 10 steps begins inside the warm-up, "
                "optimizer.warmup_steps "
                "8; at most decay_fraction 0.2, or warmup_steps 5"}},
        Broken{
            "Microbatches",
            {"train.global_batch=65536"},
            1,
            {"train.global_batch 65536 is 32768 micro-batches a step", "at most 32767", "larger train.micro_batch, or more ranks"}},
        Broken{
            "Parameters", {"model.hidden=268435456", "model.ffn=268435456"}, 1, {"configs/my.yaml:1: the model has about 1.7e+18"}},
        Broken{"Activations",
               {"train.steps=1", "optimizer.warmup_steps=0", "train.micro_batch=1048576", "train.sequence=1073741824",
                "train.global_batch=1048576"},
               1,
               {"train.micro_batch 1048576 * train.sequence 1073741824 tokens has about", "at most 1e+16"}},
        Broken{"Tokens", {"train.steps=4503599627370496"}, 1, {"a run of", "tokens: at most 9.0e+15"}},
        Broken{"NoValidationData", {"train.validate_every=5"}, 1, {"train.validate_every 5 needs data.validation"}},
        Broken{"NoData", {"data.train=[]"}, 1, {"data.train is missing", "drover prepare"}},
        Broken{"EmptyRunDirectory", {"run.dir="}, 1, {"--set run.dir=: run.dir is empty: a directory, or leave it out"}},
        Broken{"Device", {"run.device=tpu"}, 1, {"run.device \"tpu\"", "auto, cpu or cuda"}},
        Broken{"Communication", {"run.communication=gloo"}, 1, {"run.communication \"gloo\"", "auto, nccl or host"}},
        Broken{"Resume", {"checkpoint.resume="}, 1, {"checkpoint.resume \"\": auto, must, never or a checkpoint directory"}},
        Broken{"ResumeMisspelt", {"checkpoint.resume=atuo"}, 1, {"checkpoint.resume \"atuo\": auto, must, never"}}),
    [](const auto& of) { return of.param.name; });

TEST(Validate, TheFileIsNamedWhereTheFileIsWrong) {
  std::string text = kText;
  text.replace(text.find("hidden: 64"), 10, "hidden: 68");
  LoadedConfig loaded = load_config_text(text, "configs/my.yaml", std::vector<std::string>{"train.steps=20"});
  const std::vector<Violation> violations = resolve_and_validate(loaded, 1);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations.front().where, "configs/my.yaml:4");
}

TEST(Validate, DerivesWhatWasLeftOut) {
  LoadedConfig loaded = load({"parallel.tp=2", "parallel.pp=2"});
  EXPECT_TRUE(resolve_and_validate(loaded, 8).empty());
  EXPECT_EQ(loaded.config.parallel.dp, 2);
  EXPECT_EQ(loaded.config.model.head_dim, 8);
  EXPECT_EQ(loaded.config.run.dir, "runs/my");
  LoadedConfig plain = load({"model.kv_heads=0"});
  EXPECT_TRUE(resolve_and_validate(plain, 1).empty());
  EXPECT_EQ(plain.config.model.kv_heads, 8);
}

TEST(Validate, UnevenStagesAreFine) {
  LoadedConfig loaded = load({"parallel.pp=3"});
  EXPECT_TRUE(resolve_and_validate(loaded, 3).empty());
}

TEST(Validate, AllViolationsInOneError) {
  LoadedConfig loaded = load({"parallel.tp=3", "train.validate_every=2", "train.global_batch=7", "run.device=tpu"});
  const auto violations = resolve_and_validate(loaded, 3);
  EXPECT_EQ(violations.size(), 4u);
  try {
    throw_if_any(violations);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    for (const Violation& violation : violations)
      EXPECT_NE(std::string(error.what()).find(violation.where + ": " + violation.message), std::string::npos);
  }
  EXPECT_NO_THROW(throw_if_any({}));
}

// A value that cannot be read hides no rule but those over itself.
TEST(Validate, RulesOverTheRestAreJudgedBesideWhatCannotBeRead) {
  LoadedConfig loaded = load_config_text(kText, "configs/my.yaml",
                                         std::vector<std::string>{"model.heads=many", "model.layer=1", "parallel.tp=5",
                                                                  "optimizer.warmup_steps=11", "train.global_batch=21"});
  EXPECT_EQ(loaded.violations.size(), 2u);
  std::string all;
  for (const Violation& violation : resolve_and_validate(loaded, 10)) all += violation.where + ": " + violation.message + "\n";
  for (const char* part :
       {"model.heads: expected integer", "unknown key model.layer",
        "parallel.tp 5 does not divide model.kv_heads 4, model.ffn 96, train.micro_batch * train.sequence = 64\n",
        "warmup_steps 11 is above", "dp 2 = 4; nearest: 20 or 24"})
    EXPECT_NE(all.find(part), std::string::npos) << all << "lacks: " << part;
  EXPECT_EQ(all.find("model.heads 0"), std::string::npos) << all;
  EXPECT_EQ(all.find("head_dim"), std::string::npos) << all;
}

// Any subset of the keys may be missing or wrong: never a crash, and each is said.
TEST(Validate, AnyKeyMayBeUnreadable) {
  for (const Field& field : schema()) {
    const std::string wrong = field.type.starts_with("a ") || field.type.starts_with("auto") ? "{a: b}" : "?";
    LoadedConfig loaded = load_config_text(kText, "a.yaml", std::vector<std::string>{field.path + "=" + wrong, "parallel.tp=3"});
    const std::vector<Violation> violations = resolve_and_validate(loaded, 6);
    ASSERT_GE(violations.size(), field.path == "parallel.tp" ? 1u : 2u) << field.path;
  }
  LoadedConfig nothing = load_config_text("", "a.yaml", {});
  EXPECT_EQ(resolve_and_validate(nothing, 6).size(), nothing.violations.size() + 1) << "data.train";
}

// Absurd values meet a message, not an overflow or an endless search.
TEST(Validate, HugeValuesAreRefused) {
  for (const char* key :
       {"model.heads", "model.kv_heads", "parallel.dp", "parallel.tp", "parallel.cp", "train.micro_batch", "train.sequence"})
    EXPECT_FALSE(
        load_config_text(kText, "a.yaml", std::vector<std::string>{std::string(key) + "=4503599627370496"}).violations.empty())
        << key;
}

// The decay may begin where the warm-up ends.
TEST(Validate, WarmupAndDecayMayMeet) {
  for (const char* fraction : {"0.55", "0.57", "0.29", "0.1", "1", "0"}) {
    const int warmup = static_cast<int>(std::lround(100 - 100 * std::stod(fraction)));
    LoadedConfig loaded = load({"train.steps=100", "optimizer.schedule=wsd", "optimizer.warmup_steps=" + std::to_string(warmup),
                                std::string("optimizer.decay_fraction=") + fraction});
    EXPECT_TRUE(resolve_and_validate(loaded, 1).empty()) << fraction;
  }
}

// A file may hold what moves a terminal's cursor.
TEST(Validate, ControlCharactersAreNotPrinted) {
  const LoadedConfig loaded = load_config_text("\"a\\e[2Jb\\x9bc\\nd\\x7f\": 1\n", "a.yaml", {});
  try {
    throw_if_any(loaded.violations);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a.yaml:1: unknown key a\\x1b[2Jb\xc2\\x9bc\\x0ad\\x7f; sections"), std::string::npos)
        << error.what();
  }
}

TEST(Validate, TinyFitsEightRanks) {
  for (const char* heads : {"model.kv_heads=0", "model.kv_heads=8", "model.kv_heads=4", "model.kv_heads=1", "model.kv_heads=17"})
    for (const char* pp : {"parallel.pp=1", "parallel.pp=2", "parallel.pp=3"}) {
      LoadedConfig loaded = load({heads, pp, "parallel.tp=8"});
      loaded.config = tiny(loaded.config);
      const auto violations = resolve_and_validate(loaded, 8);
      EXPECT_TRUE(violations.empty()) << heads << " " << pp << ": " << violations.front().message;
    }
}

ModelConfig model(int64_t layers, int64_t hidden, int64_t heads, int64_t kv_heads, int64_t ffn, int64_t vocab, bool bias) {
  ModelConfig m;
  m.layers = layers, m.hidden = hidden, m.heads = heads, m.kv_heads = kv_heads, m.ffn = ffn, m.vocab = vocab, m.qkv_bias = bias;
  m.head_dim = 128;
  return m;
}

TEST(ParameterCount, OfPublishedModels) {
  EXPECT_EQ(parameter_count(model(32, 4096, 32, 8, 14336, 128256, false)), 8030261248) << "Llama 3 8B";
  EXPECT_EQ(parameter_count(model(80, 8192, 64, 8, 28672, 128256, false)), 70553706496) << "Llama 3 70B";
  EXPECT_EQ(parameter_count(model(126, 16384, 128, 8, 53248, 128256, false)), 405853388800) << "Llama 3.1 405B";
  EXPECT_EQ(parameter_count(model(28, 3584, 28, 4, 18944, 152064, true)), 7615616512) << "Qwen2.5 7B";
  ModelConfig tied = model(28, 3584, 28, 4, 18944, 152064, true);
  tied.tied_embeddings = true;
  EXPECT_EQ(parameter_count(tied), 7615616512 - int64_t{152064} * 3584);
}

// By the definition: 6 for each weight of a product, and causal attention's two products over half of the pairs.
TEST(FlopsPerToken, OfLlama8B) {
  const double weights = 8030261248.0 - 128256.0 * 4096 - (2 * 32 + 1) * 4096.0;
  EXPECT_DOUBLE_EQ(flops_per_token(model(32, 4096, 32, 8, 14336, 128256, false), 8192), 6 * weights + 6.0 * 32 * 32 * 128 * 8192);
}

TEST(LearningRate, WarmsUpLinearly) {
  OptimizerConfig o;
  o.lr = 2, o.warmup_steps = 4;
  for (const LrSchedule schedule : {LrSchedule::cosine, LrSchedule::wsd, LrSchedule::constant}) {
    o.schedule = schedule;
    for (int step = 1; step <= 4; ++step) EXPECT_DOUBLE_EQ(learning_rate(o, 100, step), 0.5 * step);
  }
}

TEST(LearningRate, Cosine) {
  OptimizerConfig o;
  o.lr = 1, o.warmup_steps = 10, o.min_lr_ratio = 0.1, o.schedule = LrSchedule::cosine;
  EXPECT_DOUBLE_EQ(learning_rate(o, 110, 60), 0.1 + 0.9 * 0.5);
  EXPECT_NEAR(learning_rate(o, 110, 35), 0.1 + 0.45 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_DOUBLE_EQ(learning_rate(o, 110, 110), 0.1);
  for (int step = 10; step < 110; ++step) EXPECT_GT(learning_rate(o, 110, step), learning_rate(o, 110, step + 1));
  o.warmup_steps = 0;
  EXPECT_LT(learning_rate(o, 100, 1), 1.0);
}

TEST(LearningRate, WarmupStableDecay) {
  OptimizerConfig o;
  o.lr = 1, o.warmup_steps = 10, o.min_lr_ratio = 0, o.decay_fraction = 0.2, o.schedule = LrSchedule::wsd;
  for (const int step : {10, 11, 50, 80}) EXPECT_DOUBLE_EQ(learning_rate(o, 100, step), 1.0) << step;
  EXPECT_DOUBLE_EQ(learning_rate(o, 100, 81), 0.95);
  EXPECT_DOUBLE_EQ(learning_rate(o, 100, 90), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(o, 100, 99), 0.05);
  EXPECT_DOUBLE_EQ(learning_rate(o, 100, 100), 0.0);
  o.min_lr_ratio = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(o, 100, 90), 0.75);
}

TEST(LearningRate, Constant) {
  OptimizerConfig o;
  o.lr = 3, o.warmup_steps = 0, o.schedule = LrSchedule::constant;
  EXPECT_EQ(learning_rate(o, 10, 1), 3);
  EXPECT_EQ(learning_rate(o, 10, 10), 3);
}

}  // namespace
}  // namespace drover
