// Training with run.device: cuda, on GPUs that the cpu plays (tests/simt): against the cpu device, on one rank and on several.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/end_to_end/compare_checkpoints.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;

// As for layouts (layouts_test.cpp). Observed: f32 losses 5e-8, norms 2e-6, gradients 5e-7; bf16 7e-5, 5e-3, 1e-2.
constexpr double kBound = 1e-5, kBf16Losses = 2e-3, kBf16Gradients = 4e-2;
constexpr int kSteps = 4, kNoGpu = 8;

class Cuda : public ::testing::Test {
 protected:
  Cuda() : sandbox_(DROVER_BUILD_DIR "/drover_on_simt") {}
  void configure(std::map<std::string, std::string> keys) {
    keys.insert({{"train.steps", std::to_string(kSteps)}, {"optimizer.warmup_steps", "1"}, {"train.micro_batch", "6"}});
    keys.insert({{"checkpoint.every", "1"}, {"checkpoint.keep", "0"}, {"checkpoint.gradients", "true"}, {"model.kv_heads", "4"}});
    keys.insert({{"data.validation", "data"}, {"train.validation_batches", "1"}, {"model.layers", "2"}});
    sandbox_.configure(keys);
  }
  std::vector<nlohmann::json> train(const Layout& layout, const std::string& run, const std::vector<std::string>& set) const {
    const testing::Outcome outcome = sandbox_.train(layout, run, set);
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    return outcome.code == 0 ? sandbox_.metrics(run) : std::vector<nlohmann::json>{};
  }
  void expect_parity(const std::string& a, const std::string& b, bool bf16) const {
    const auto rows_a = sandbox_.metrics(a), rows_b = sandbox_.metrics(b);
    ASSERT_EQ(rows_a.size(), static_cast<size_t>(kSteps) + 1) << "and a validation";
    EXPECT_LE(testing::largest_difference(rows_a, rows_b, "loss"), bf16 ? kBf16Losses : kBound);
    EXPECT_LE(testing::largest_difference(rows_a, rows_b, "validation_loss"), bf16 ? kBf16Losses : kBound);
    EXPECT_LE(testing::largest_difference(rows_a, rows_b, "grad_norm"), bf16 ? kBf16Gradients : kBound);
    testing::expect_equal_tensors(sandbox_.checkpoint(a, 0), sandbox_.checkpoint(b, 0));
    const double gradients = testing::worst_tensor(sandbox_.checkpoint(a, 1), sandbox_.checkpoint(b, 1), "gradient");
    EXPECT_LE(gradients, bf16 ? kBf16Gradients : kBound);
    std::printf("losses %.1e, norms %.1e, gradients %.1e\n", testing::largest_difference(rows_a, rows_b, "loss"),
                testing::largest_difference(rows_a, rows_b, "grad_norm"), gradients);
  }
  Sandbox sandbox_;
};

class CudaPrecision : public Cuda, public ::testing::WithParamInterface<std::string> {};

TEST_P(CudaPrecision, OneRankAgreesWithTheCpu) {
  configure({{"precision.compute", GetParam()}, {"model.qkv_bias", "true"}, {"model.tied_embeddings", "true"}});
  train({}, "cpu", {"run.device=cpu"});
  train({}, "cuda", {"run.device=cuda"});
  expect_parity("cpu", "cuda", GetParam() == "bf16");
}

TEST_P(CudaPrecision, EightRanksAgreeWithTheCpu) {
  configure({{"precision.compute", GetParam()}});
  train({}, "cpu", {"run.device=cpu"});
  for (const std::string communication : {"nccl", "host"}) {
    if (communication == "nccl" && !DROVER_WITH_NCCL) continue;
    train({2, 2, 2}, communication, {"run.device=cuda", "run.communication=" + communication});
    expect_parity("cpu", communication, GetParam() == "bf16");
  }
}
INSTANTIATE_TEST_SUITE_P(Precision, CudaPrecision, ::testing::Values("f32", "bf16"), [](const auto& test) { return test.param; });

TEST_F(Cuda, ResumesToTheBitAndOnTheOtherDevice) {
  configure({{"optimizer.schedule", "constant"}, {"data.validation", "[]"}});
  train({2, 1, 1}, "whole", {"run.device=cuda"});
  train({2, 1, 1}, "half", {"run.device=cuda", "train.steps=2"});
  for (const char* device : {"cuda", "cpu"}) {
    const std::string run = std::string("on_") + device;
    std::filesystem::copy(sandbox_.path() / "half", sandbox_.path() / run, std::filesystem::copy_options::recursive);
    const testing::Outcome resumed =
        sandbox_.resume({2, 1, 1}, run, {"train.steps=" + std::to_string(kSteps), std::string("run.device=") + device});
    ASSERT_EQ(resumed.code, 0) << resumed.output;
    const bool said = resumed.output.find("instruction set: a GPU played by the cpu, cuBLASLt ") != std::string::npos;
    EXPECT_EQ(said, std::string(device) == "cpu") << resumed.output;
  }
  testing::expect_equal_tensors(sandbox_.checkpoint("whole", kSteps), sandbox_.checkpoint("on_cuda", kSteps));
  const double difference = testing::largest_difference(sandbox_.metrics("whole"), sandbox_.metrics("on_cpu"), "loss");
  EXPECT_LE(difference, kBound);
  EXPECT_GT(difference, 0) << "the cpu did not take over";
}

// The gradients' copies on the host name the same tensor, after the same steps.
TEST_F(Cuda, NonFiniteStepsEndTheRunAsOnTheCpu) {
  configure({{"optimizer.lr", "1e30"}, {"optimizer.weight_decay", "0"}, {"optimizer.clip", "0"}, {"train.max_skipped", "1"}});
  std::vector<std::string> errors;
  for (const std::string device : {"cpu", "cuda"}) {
    const testing::Outcome outcome = sandbox_.train({1, 1, 2}, device, {"run.device=" + device});
    EXPECT_EQ(outcome.code, 93) << outcome.output;
    const size_t begin = outcome.output.find("step "), bad = outcome.output.find("the first bad gradient is of", begin);
    ASSERT_NE(bad, std::string::npos) << outcome.output;
    errors.push_back(outcome.output.substr(bad, 80));
  }
  EXPECT_EQ(errors[0], errors[1]);
}

// Documents one by one, and samples that end early; the record says so.
TEST_F(Cuda, AttentionThatIsNotDeterministicAgreesWithTheCpu) {
  configure({{"precision.compute", "bf16"}, {"train.deterministic_attention", "false"}, {"data.max_documents_per_sample", "3"}});
  train({}, "cpu", {"run.device=cpu"});
  train({}, "cuda", {"run.device=cuda"});
  expect_parity("cpu", "cuda", true);
  const testing::Outcome resumed = sandbox_.resume(
      {}, "cuda", {"run.device=cuda", "train.deterministic_attention=true", "train.steps=" + std::to_string(kSteps + 1)});
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_NE(resumed.output.find(", attention not deterministic"), std::string::npos) << resumed.output;
}

TEST_F(Cuda, RecomputeChangesNoBit) {
  configure({{"precision.compute", "bf16"}});
  train({}, "kept", {"run.device=cuda"});
  train({}, "recomputed", {"run.device=cuda", "train.recompute=block"});
  testing::expect_equal_tensors(sandbox_.checkpoint("kept", kSteps), sandbox_.checkpoint("recomputed", kSteps));
}

// Every checkpoint, gradients included, and every row, of runs that validate and save between steps. A run that resumes begins its graphs anew.
TEST_F(Cuda, GraphsChangeNoBit) {
  configure({{"precision.compute", "bf16"},
             {"train.validate_every", "2"},
             {"train.recompute", "block"},
             {"optimizer.schedule", "constant"}});
  for (const Layout& layout : {Layout{1, 1, 1}, Layout{2, 1, 2}}) {
    const std::string single = "single_" + layout.name(), graphs = "graphs_" + layout.name();
    train(layout, single, {"run.device=cuda"});
    const testing::Outcome half = sandbox_.train(layout, graphs, {"run.device=cuda", "run.cuda_graphs=true", "train.steps=3"});
    ASSERT_EQ(half.code, 0) << half.output;
    EXPECT_EQ(testing::count(half.output, "\ngraphs  CUDA graphs of the forward and backward passes: at most "), 1) << half.output;
    const testing::Outcome resumed =
        sandbox_.resume(layout, graphs, {"run.device=cuda", "run.cuda_graphs=true", "train.steps=" + std::to_string(kSteps)});
    ASSERT_EQ(resumed.code, 0) << resumed.output;
    for (int step = 0; step <= kSteps; ++step)
      testing::expect_equal_tensors(sandbox_.checkpoint(single, step), sandbox_.checkpoint(graphs, step));
  }
}

// By way of host memory collectives wait for the GPU, which no capture may: they stand between its graphs.
TEST_F(Cuda, GraphsStopForCollectivesOfTheHost) {
  configure({{"precision.compute", "bf16"}});
  for (const std::string graphs : {"false", "true"})
    train({1, 2, 1}, graphs, {"run.device=cuda", "run.communication=host", "run.cuda_graphs=" + graphs});
  EXPECT_EQ(testing::without_timings(sandbox_.metrics("true")), testing::without_timings(sandbox_.metrics("false")));
  testing::expect_equal_tensors(sandbox_.checkpoint("true", kSteps), sandbox_.checkpoint("false", kSteps));
}

// `auto` is decided for all ranks alike, and what was asked for must be there.
TEST_F(Cuda, TheDeviceIsDecidedOnce) {
  configure({});
  const auto with_gpus = [&](const std::string& count, const Layout& layout, const std::string& run, const std::string& device,
                             const std::string& more = "run.threads=1") {
    std::vector<std::string> command =
        sandbox_.on_ranks(layout.ranks(), sandbox_.train_arguments(layout, run, {"run.device=" + device, more}));
    command.insert(command.begin(), {"env", "DROVER_SIMT_GPUS=" + count});
    return testing::run_command(command, sandbox_.path());
  };
  const auto says = [](const testing::Outcome& outcome, const std::string& text) {
    return outcome.output.find(text) != std::string::npos;
  };
  const testing::Outcome on_gpu = with_gpus("2", {2, 1, 1}, "a", "auto");
  EXPECT_EQ(on_gpu.code, 0);
  EXPECT_TRUE(says(on_gpu, "cuda    a GPU played by the cpu, cuBLASLt ")) << on_gpu.output;
  const testing::Outcome on_cpu = with_gpus("0", {2, 1, 1}, "b", "auto");
  EXPECT_EQ(on_cpu.code, 0);
  EXPECT_TRUE(says(on_cpu, "cpu     1 thread a rank")) << on_cpu.output;
  for (const char* device : {"auto", "cuda"}) {
    const testing::Outcome three_of_four = with_gpus("3", {4, 1, 1}, "c", device);
    EXPECT_EQ(three_of_four.code, kNoGpu) << three_of_four.output;
    EXPECT_TRUE(says(three_of_four, ": 1 of 4 ranks have no GPU (")) << three_of_four.output;
    EXPECT_TRUE(says(three_of_four, ": 4 ranks, 3 GPUs, run.ranks_per_gpu 1)")) << three_of_four.output;
  }
  const testing::Outcome shared = with_gpus("1", {2, 1, 1}, "e", "cuda", "run.ranks_per_gpu=2");
  EXPECT_EQ(shared.code, 0) << shared.output;
  const testing::Outcome none = with_gpus("0", {}, "d", "cuda");
  EXPECT_EQ(none.code, kNoGpu) << none.output;
  EXPECT_TRUE(says(none, "run.device cuda: 1 of 1 ranks have no GPU (")) << none.output;
  EXPECT_TRUE(says(none, ": no GPU is seen); `run.device: cpu` trains without GPUs")) << none.output;
  EXPECT_FALSE(std::filesystem::exists(sandbox_.path() / "d" / "metrics.jsonl"));
}

// What a profiler is shown is what the program was: the first step's actions by name, then what ends it.
TEST_F(Cuda, RangesAreNamedAsTheProgramsActions) {
  configure({{"train.steps", "1"}, {"data.validation", "[]"}, {"run.timed_products", "false"}});
  std::vector<std::string> arguments = sandbox_.train_arguments({}, "run", {"run.device=cuda"});
  arguments.push_back("--log-actions");
  std::vector<std::string> command = sandbox_.on_ranks(1, arguments);
  command.insert(command.begin(), {"env", "NVTX_INJECTION64_PATH=" DROVER_BUILD_DIR "/libnvtx_ranges.so"});
  const testing::Outcome outcome = testing::run_command(command, sandbox_.path());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  std::string wanted, shown;
  std::ifstream actions(sandbox_.path() / "run" / "actions_rank_0.txt");
  for (std::string line; std::getline(actions, line);) wanted += line + "\n";
  std::istringstream output(outcome.output);
  for (std::string line; std::getline(output, line);)
    if (line.starts_with("range ")) shown += line.substr(6) + "\n";
  EXPECT_EQ(shown, "publish\n" + wanted + "update\npublish\n") << "the first ones are the initial weights";
}

TEST_F(Cuda, WhatDoesNotFitTheGpuIsRefused) {
  configure({});
  const std::map<std::string, std::string> refusals{
      {"run.ranks_per_gpu=64", "(1.0 GiB outside the planned tensors), 0.2 GiB are free for it (a GPU played by the cpu); "},
      {"run.device_memory=0.5", "(1.0 GiB outside the planned tensors), run.device_memory allows 0.5 GiB; "}};
  for (const auto& [setting, message] : refusals) {
    const testing::Outcome outcome = sandbox_.train({}, "run", {"run.device=cuda", setting});
    EXPECT_EQ(outcome.code, 5) << outcome.output;
    EXPECT_NE(outcome.output.find(message), std::string::npos) << outcome.output;
  }
  const testing::Outcome fits = sandbox_.train({}, "run", {"run.device=cuda", "run.device_memory=2"});
  EXPECT_EQ(fits.code, 0) << fits.output;
  EXPECT_NE(fits.output.find(" bytes on the GPU outside the planned tensors, 1073741824 were expected"), std::string::npos)
      << fits.output;
}

}  // namespace
}  // namespace drover
