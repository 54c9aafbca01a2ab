// Algorithms of matrix products that are timed at the start, on GPUs that the cpu plays. Their algorithms differ in the order of their additions,
// and their speeds are drawn anew for each rank and DROVER_SIMT_SPEEDS (tests/simt/cublaslt.cpp): equal bits mean that the same ones were used.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "kernels/base/files.h"
#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"
#include "trainer/checkpoint/manifest.h"

namespace drover {
namespace {

using testing::Layout;

constexpr const char* kMayDiffer = "(the last bits of losses may differ)";

class Products : public ::testing::Test {
 protected:
  Products() : sandbox_(DROVER_BUILD_DIR "/drover_on_simt") {
    sandbox_.configure({{"run.device", "cuda"},
                        {"train.steps", "4"},
                        {"train.micro_batch", "6"},
                        {"model.layers", "2"},
                        {"optimizer.warmup_steps", "1"},
                        {"optimizer.schedule", "constant"},
                        {"checkpoint.every", "2"},
                        {"checkpoint.keep", "0"}});
  }
  using Variables = std::vector<std::string>;  // NAME=VALUE, of the stand-in

  testing::Outcome run(const Layout& layout, const std::vector<std::string>& arguments, const Variables& variables) const {
    std::vector<std::string> command = sandbox_.on_ranks(layout.ranks(), arguments);
    command.insert(command.begin(), variables.begin(), variables.end());
    command.insert(command.begin(), "env");
    testing::Outcome outcome = testing::run_command(command, sandbox_.path());
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    return outcome;
  }
  testing::Outcome train(const Layout& layout, const std::string& name, const Variables& variables,
                         const std::vector<std::string>& set = {}) const {
    return run(layout, sandbox_.train_arguments(layout, name, set), variables);
  }
  // A run that ends after step 2, copied, and resumed to step 4.
  testing::Outcome resume(const Layout& layout, const std::string& from, const std::string& name, const Variables& variables,
                          const std::vector<std::string>& set = {}) const {
    std::filesystem::copy(sandbox_.path() / from, sandbox_.path() / name, std::filesystem::copy_options::recursive);
    std::filesystem::remove(sandbox_.path() / name / "products.json");
    std::vector<std::string> arguments{"resume", name, "--set", "train.steps=4"};
    for (const std::string& text : set) arguments.insert(arguments.end(), {"--set", text});
    return run(layout, arguments, variables);
  }
  nlohmann::json choices(const std::string& name) const {
    return nlohmann::json::parse(read_text(sandbox_.path() / name / "products.json"));
  }
  // One field of all entries.
  std::vector<int> of_each(const std::string& name, const std::string& field) const {
    const nlohmann::json file = choices(name);
    std::vector<int> values;
    for (const nlohmann::json& product : file.at("products")) values.push_back(product.at(field).get<int>());
    return values;
  }
  bool same_weights(const std::string& a, const std::string& b) const {
    return testing::worst_tensor(sandbox_.checkpoint(a, 4), sandbox_.checkpoint(b, 4), "master") == 0;
  }
  testing::Sandbox sandbox_;
};

bool says(const testing::Outcome& outcome, const std::string& text) { return outcome.output.find(text) != std::string::npos; }

TEST_F(Products, EveryProductOfARunIsTimedAndTheFastestChosen) {
  const testing::Outcome outcome =
      train({}, "run", {"DROVER_SIMT_UNTIMED=1"}, {"data.validation=data", "train.validation_batches=1"});
  EXPECT_EQ(testing::count(outcome.output, "untimed product"), 1) << outcome.output;
  EXPECT_TRUE(says(outcome, "untimed product of 256 rows")) << "which the rate of matrix products is measured with";
  const nlohmann::json file = choices("run");
  EXPECT_EQ(file.at("library"), "cuBLASLt 0.0.0");
  EXPECT_EQ(file.at("gpu"), "a GPU played by the cpu");
  // Three of each of a block's four products, and of the head's.
  EXPECT_EQ(file.at("products").size(), 15u);
  EXPECT_TRUE(says(outcome, "products 15 shapes of matrix products by cuBLASLt 0.0.0: 0 as in the checkpoint, 15 timed in "))
      << outcome.output;
  EXPECT_FALSE(says(outcome, kMayDiffer)) << outcome.output;
  std::set<int> chosen;
  for (const nlohmann::json& product : file.at("products")) {
    EXPECT_EQ(product.at("candidates"), 4);
    EXPECT_GE(product.at("microseconds"), 1000) << "the one that fails at once";
    chosen.insert(product.at("candidate").get<int>());
  }
  EXPECT_EQ(chosen, (std::set<int>{0, 2, 3})) << "each is the fastest for some product, but not the one that fails";
}

TEST_F(Products, AllRanksUseWhatTheLowestRankChose) {
  const testing::Outcome outcome = train({1, 2, 2}, "run", {"DROVER_SIMT_UNTIMED=1"}, {"train.steps=1"});
  EXPECT_EQ(testing::count(outcome.output, "untimed product of 256 rows"), 4) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "untimed product"), 4) << outcome.output;
  std::map<int, int> by_rank;
  for (const int rank : of_each("run", "rank")) ++by_rank[rank];
  // The last stage, whose first rank is 2, has the head's products for itself.
  EXPECT_EQ(by_rank, (std::map<int, int>{{0, 12}, {2, 3}}));
}

// On all ranks: rank 1, whose own times would say something else, too.
TEST_F(Products, ResumedToTheBitThoughOtherAlgorithmsAreFasterThen) {
  const Layout layout{2, 1, 1};
  train(layout, "whole", {"DROVER_SIMT_SPEEDS=1"});
  train(layout, "other", {"DROVER_SIMT_SPEEDS=2"});
  EXPECT_FALSE(same_weights("whole", "other")) << "the algorithms give equal bits, and nothing is shown here";
  train(layout, "half", {"DROVER_SIMT_SPEEDS=1"}, {"train.steps=2"});
  const testing::Outcome resumed = resume(layout, "half", "resumed", {"DROVER_SIMT_SPEEDS=2"});
  EXPECT_TRUE(says(resumed, ": 15 as in the checkpoint, 0 timed in ")) << resumed.output;
  EXPECT_FALSE(says(resumed, kMayDiffer)) << resumed.output;
  testing::expect_equal_tensors(sandbox_.checkpoint("whole", 4), sandbox_.checkpoint("resumed", 4));
  EXPECT_EQ(choices("resumed"), choices("half"));
}

TEST_F(Products, AResumeThatCannotUseThemSaysThatBitsMayDiffer) {
  train({}, "half", {}, {"train.steps=2"});
  const auto expect_line = [&](const testing::Outcome& resumed, const std::string& line) {
    EXPECT_TRUE(says(resumed, line + " " + kMayDiffer)) << resumed.output;
  };
  expect_line(resume({}, "half", "library", {"DROVER_SIMT_CUBLASLT=130100"}),
              "products: cuBLASLt 0.0.0 on a GPU played by the cpu -> cuBLASLt 13.1.0 on a GPU played by the cpu: 15 of 15 were "
              "timed anew");
  EXPECT_EQ(choices("library").at("library"), "cuBLASLt 13.1.0");
  expect_line(resume({}, "half", "layout", {}, {"train.micro_batch=12"}),
              "products: the checkpoint does not have all: 15 of 15 were timed anew");
  expect_line(resume({}, "half", "off", {}, {"run.timed_products=false"}), "products: the checkpoint's algorithms are not used");
  EXPECT_FALSE(std::filesystem::exists(sandbox_.path() / "off" / "products.json"));
}

// The manifest's checksum is right, the choices in it are not: a checkpoint that another program has changed.
TEST_F(Products, DamagedChoicesAreTimedAnew) {
  train({}, "half", {}, {"train.steps=2"});
  const std::filesystem::path checkpoint = sandbox_.checkpoint("half", 2);
  const auto store = [&](const std::string& products) {
    pb::Manifest manifest = load_manifest(checkpoint);
    manifest.mutable_state()->set_products(products);
    std::ofstream(checkpoint / "manifest.pb", std::ios::binary) << encode_manifest(manifest);
  };
  const std::string sound = read_text(sandbox_.path() / "half" / "products.json");
  store(sound.substr(0, sound.size() / 2));
  const testing::Outcome cut = resume({}, "half", "cut", {});
  EXPECT_TRUE(says(cut, "products: the algorithms of matrix products are damaged: ")) << cut.output;
  EXPECT_TRUE(says(cut, std::string(": 15 of 15 were timed anew ") + kMayDiffer)) << cut.output;
  std::string changed = sound;
  changed.replace(changed.find("\"algorithm\":\"") + 16, 2, "ee");
  store(changed);
  const testing::Outcome refused = resume({}, "half", "refused", {});
  EXPECT_TRUE(says(refused, std::string("refuses 1 algorithm of the checkpoint's: 1 of 15 were timed anew ") + kMayDiffer))
      << refused.output;
}

// A library that no longer has an algorithm, on one of two ranks: both let go of it.
TEST_F(Products, WhatALibraryRefusesIsTimedAnew) {
  const Layout layout{2, 1, 1};
  train(layout, "half", {}, {"train.steps=2"});
  const auto thirds = [&](const std::string& name) { return std::ranges::count(of_each(name, "candidate"), 3); };
  const auto refused = thirds("half");
  ASSERT_GT(refused, 0);
  const testing::Outcome resumed = resume(layout, "half", "refused", {"DROVER_SIMT_ALGORITHMS=3"});
  EXPECT_TRUE(says(resumed, "products: cuBLASLt 0.0.0 refuses " + std::to_string(refused) + " algorithms of the checkpoint's"))
      << resumed.output;
  EXPECT_EQ(thirds("refused"), 0);
}

}  // namespace
}  // namespace drover
