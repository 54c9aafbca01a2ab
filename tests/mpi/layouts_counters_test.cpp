// Parallel means divided: what all ranks did and held together is what one rank does and holds alone, and no rank touched a tensor that
// is not its own.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"
#include "trainer/checkpoint/store.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;
using Counters = std::vector<nlohmann::json>;  // by rank

Counters counted(const Sandbox& sandbox, const Layout& layout, const std::string& run, std::vector<std::string> arguments) {
  arguments.push_back("--log-actions");
  const testing::Outcome outcome = testing::run_command(sandbox.on_ranks(layout.ranks(), arguments), sandbox.path());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  Counters counters;
  for (int rank = 0; rank < layout.ranks() && outcome.code == 0; ++rank)
    counters.push_back(
        nlohmann::json::parse(std::ifstream(sandbox.path() / run / ("counters_rank_" + std::to_string(rank) + ".json"))));
  return counters;
}

int64_t sum(const Counters& counters, const std::string& group, const std::string& name, const std::string& field = "") {
  int64_t total = 0;
  for (const nlohmann::json& rank : counters)
    total += (field.empty() ? rank[group][name] : rank[group][name][field]).get<int64_t>();
  return total;
}

class Divided : public ::testing::TestWithParam<Layout> {
 protected:
  // A vocabulary that tp divides, and no parameter that several ranks hold but the norms: 9 of [32].
  Divided() { sandbox_.configure({{"model.vocab", "264"}, {"train.steps", "3"}, {"optimizer.warmup_steps", "1"}}); }
  static constexpr int64_t kNorms = 9 * 32, kParameters = 2 * 264 * 32 + 4 * (4 * 32 * 32 + 3 * 32 * 64) + kNorms, kSteps = 3;
  Sandbox sandbox_;
};

TEST_P(Divided, WorkAndMemory) {
  const Layout& layout = GetParam();
  const Counters one = counted(sandbox_, {}, "one", sandbox_.train_arguments({}, "one", {}));
  const Counters many = counted(sandbox_, layout, "many", sandbox_.train_arguments(layout, "many", {}));
  ASSERT_EQ(one.size(), 1u);
  ASSERT_EQ(many.size(), static_cast<size_t>(layout.ranks()));
  EXPECT_GT(sum(one, "ops", "gemm", "flops"), 0);
  for (const char* op : {"gemm", "attention", "swiglu", "rope"})
    EXPECT_EQ(sum(many, "ops", op, "flops"), sum(one, "ops", op, "flops")) << op;
  for (const nlohmann::json& rank : many) {
    const int64_t even = one[0]["ops"]["gemm"]["flops"].get<int64_t>() / layout.ranks(),
                  mine = rank["ops"]["gemm"]["flops"].get<int64_t>();
    if (layout.pp == 1)
      EXPECT_EQ(mine, even);
    else
      EXPECT_LT(mine, 2 * even) << "the stage with the head";
  }
  // 7 arrays of f32 an element and step, read or written; the scalars of a step apart.
  const int64_t scalars = one[0]["ops"]["optimizer"]["bytes"].get<int64_t>() - kSteps * 7 * 4 * kParameters;
  EXPECT_GT(scalars, 0);
  EXPECT_LT(scalars, 1000);
  EXPECT_EQ(sum(many, "ops", "optimizer", "bytes"),
            sum(one, "ops", "optimizer", "bytes") + kSteps * 7 * 4 * kNorms * (layout.tp - 1) + (layout.ranks() - 1) * scalars);
  // Moments: each element once, norms once for each tp rank; a unit's shards are padded to 64 elements, 6 units, 2 arrays.
  const int64_t padding = 6 * 2 * 4 * 64 * layout.ranks() * 2, moments = sum(one, "memory", "optimizer");
  EXPECT_LE(sum(many, "memory", "optimizer"), moments + 2 * 4 * kNorms * (layout.tp - 1) + padding);
  EXPECT_GE(sum(many, "memory", "optimizer"), moments - padding);
  // Weights: once for each replica.
  EXPECT_LE(sum(many, "memory", "weights"), layout.dp * (sum(one, "memory", "weights") + 4 * kNorms * (layout.tp - 1) + padding));
}

// A tied embedding lies on two stages, and is updated on one.
TEST(DividedTied, OptimizerWorkAndMemory) {
  Sandbox sandbox;
  sandbox.configure({{"model.tied_embeddings", "true"}, {"train.steps", "3"}, {"optimizer.warmup_steps", "1"}});
  const Layout layout{2, 1, 4};
  const Counters one = counted(sandbox, {}, "one", sandbox.train_arguments({}, "one", {})),
                 many = counted(sandbox, layout, "many", sandbox.train_arguments(layout, "many", {}));
  ASSERT_EQ(many.size(), 8u);
  for (const char* op : {"gemm", "optimizer"}) EXPECT_EQ(sum(many, "ops", op, "flops"), sum(one, "ops", op, "flops")) << op;
  const int64_t embedding = 258 * 32 * 4, padding = 7 * 2 * 4 * 64 * 8;
  EXPECT_LE(sum(many, "memory", "optimizer"), sum(one, "memory", "optimizer") + padding);
  EXPECT_GE(sum(many, "memory", "weights"), 2 * (sum(one, "memory", "weights") + embedding)) << "the copy is there";
}

// Reading a checkpoint back, each rank reads the three arrays of what it holds and no byte more; that the files are whole, one of them
// reads (CheckpointDamage.VerifyingIsDivided has tensors so large that nobody may).
TEST_P(Divided, Loading) {
  const Layout& layout = GetParam();
  ASSERT_EQ(sandbox_.train({}, "run", {"train.steps=2"}).code, 0);
  std::vector<std::string> arguments{"resume", "run",
                                     "--set",  "train.steps=3",
                                     "--set",  "parallel.tp=" + std::to_string(layout.tp),
                                     "--set",  "parallel.pp=" + std::to_string(layout.pp)};
  const Counters ranks = counted(sandbox_, layout, "run", arguments);
  ASSERT_EQ(ranks.size(), static_cast<size_t>(layout.ranks()));
  int64_t total = 0, largest = 0, stored = 0;
  for (const nlohmann::json& rank : ranks) {
    const int64_t mine = rank["checkpoint_bytes_read"].get<int64_t>();
    total += mine;
    largest = std::max(largest, mine);
    // In f32 the optimizer arena holds m and v of the shard, so its masters are half of that again.
    EXPECT_LE(mine, rank["memory"]["optimizer"].get<int64_t>() * 3 / 2) << "more than it holds";
  }
  EXPECT_EQ(total, 3 * 4 * (kParameters + kNorms * (layout.tp - 1)));
  for (const auto& file : std::filesystem::directory_iterator(sandbox_.checkpoint("run", 2)))
    if (file.path().extension() == ".h5") stored += static_cast<int64_t>(file.file_size());
  int64_t verified = 0;
  for (const nlohmann::json& rank : ranks) verified += rank["checkpoint_bytes_verified"].get<int64_t>();
  EXPECT_EQ(verified, stored);
  if (layout.ranks() == 8) {
    EXPECT_LT(largest, total / 4);
  }
}

// What several ranks hold (weights on each replica, norms on each tp rank, the tied embedding on the first and last stage, with ZeRO-0 all
// optimizer state) stays equal to the bit.
struct CopiesCase {
  std::string name;
  Layout layout;
  std::vector<std::string> set;
  size_t weights, state;  // parts of them that more than one rank holds, at least
};
void PrintTo(const CopiesCase& test, std::ostream* stream) { *stream << test.name; }

// How many parts of `group` more than one rank holds; a test failure where they differ.
size_t equal_copies(const Counters& ranks, const std::string& group) {
  std::map<std::string, std::vector<std::string>> holders;  // by name and place: the hash on each rank that has it
  for (const nlohmann::json& rank : ranks)
    for (const auto& [what, hash] : rank[group].items()) holders[what].push_back(hash.get<std::string>());
  size_t copies = 0;
  for (const auto& [what, hashes] : holders) {
    copies += hashes.size() > 1;
    for (const std::string& hash : hashes) EXPECT_EQ(hash, hashes.front()) << what;
  }
  return copies;
}

class Copies : public ::testing::TestWithParam<CopiesCase> {};

TEST_P(Copies, StayEqualToTheBit) {
  const CopiesCase& test = GetParam();
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "8"}, {"model.tied_embeddings", "true"}, {"model.qkv_bias", "true"}});
  const Counters ranks = counted(sandbox, test.layout, "run", sandbox.train_arguments(test.layout, "run", test.set));
  ASSERT_EQ(ranks.size(), static_cast<size_t>(test.layout.ranks()));
  EXPECT_GE(equal_copies(ranks, "weights"), test.weights);
  EXPECT_GE(equal_copies(ranks, "state"), test.state);
}

// 9 norms, and the embedding's part on each tp rank; with replicas all 50 parameters. Three arrays of state.
INSTANTIATE_TEST_SUITE_P(Layouts, Copies,
                         ::testing::Values(CopiesCase{"tp2_pp2", {1, 2, 2}, {}, 9 + 2, 3 * 9},
                                           CopiesCase{"dp2_tp2_pp2", {2, 2, 2}, {}, 9 + 2 * 41, 3 * 9},
                                           CopiesCase{"bf16_dp2_tp2_pp2", {2, 2, 2}, {"precision.compute=bf16"}, 9 + 2 * 41, 3 * 9},
                                           CopiesCase{"dp4_pp2", {4, 1, 2}, {}, 50, 0},
                                           CopiesCase{"zero_0_dp2_pp2", {2, 1, 2}, {"parallel.zero=0"}, 50, 3 * 50}),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(Layouts, Divided,
                         ::testing::Values(Layout{1, 1, 1}, Layout{2, 1, 1}, Layout{8, 1, 1}, Layout{1, 2, 1}, Layout{1, 8, 1},
                                           Layout{1, 1, 4}, Layout{2, 2, 2}, Layout{4, 2, 1}),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace drover
