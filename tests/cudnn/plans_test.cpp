// Each graph of attention, planned by cuDNN's engines for an H100: that they take it, and what workspace they ask for.
#include <gtest/gtest.h>

#include <cstdio>
#include <ostream>
#include <string>

#include "kernels/cuda/attention.h"

namespace drover::cuda {
namespace {

struct Model {
  const char* name;
  AttentionShape shape;
};

void PrintTo(const Model& model, std::ostream* out) { *out << model.name; }

class Plans : public ::testing::TestWithParam<Model> {};

TEST_P(Plans, EnginesStayWithinThePlannedWorkspace) {
  for (const int64_t documents : {1, 0, 64})
    for (const bool deterministic : {true, false}) {
      AttentionShape s = GetParam().shape;
      s.documents = documents;
      s.deterministic = deterministic;
      const CudnnEngines engines = cudnn_attention_engines(s);
      const auto row = [&](const char* pass, const CudnnEngine& engine) {
        std::printf("%-8s documents %2lld %-17s engine %lld, workspace %lld of %lld bytes\n", pass,
                    static_cast<long long>(documents), deterministic ? "deterministic" : "not deterministic",
                    static_cast<long long>(engine.number), static_cast<long long>(engine.workspace),
                    static_cast<long long>(engine.bound));
        EXPECT_GE(engine.number, 0);
        EXPECT_LE(engine.workspace, engine.bound);
        // The plan asks for little more than what is used.
        EXPECT_LE(engine.bound, engine.workspace * 5 / 4 + 2 * AttentionScratch::kSmall);
      };
      row("forward", engines.forward);
      row("backward", engines.backward);
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Plans,
                         ::testing::Values(Model{"llama_3_8b", {1, 8192, 32, 8, 128}},
                                           Model{"qwen_7b_short", {1, 1024, 28, 4, 128}}, Model{"qwen_7b", {1, 4096, 28, 4, 128}},
                                           Model{"llama_3_2_1b", {1, 8192, 32, 8, 64}}, Model{"small_batch", {4, 64, 4, 2, 32}},
                                           Model{"odd_sequence", {2, 65, 2, 1, 128}}, Model{"one_head_each", {8, 2048, 8, 8, 64}},
                                           Model{"wide_heads", {1, 1024, 8, 2, 256}}, Model{"one_token", {1, 1, 1, 1, 8}}),
                         [](const auto& model) { return std::string(model.param.name); });

TEST(PlansOfAnH100, HeadsThatAreNoMultipleOf8AreRefused) {
  const CudnnEngines engines = cudnn_attention_engines({2, 70, 6, 2, 10});
  EXPECT_EQ(engines.forward.number, -1);
  EXPECT_EQ(engines.backward.number, -1);
}

}  // namespace
}  // namespace drover::cuda
