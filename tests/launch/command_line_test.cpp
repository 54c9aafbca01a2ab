// The command line as a newcomer meets it: help for everything, a version, and an answer to what is misspelt.
#include <gtest/gtest.h>

#include <fstream>
#include <thread>
#include <utility>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Outcome;

Outcome drover(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), testing::drover_program());
  return testing::run_command(arguments, "/");
}

const std::vector<std::string> kCommands{"train",         "resume",        "validate", "plan",       "prepare",
                                         "import-tokens", "export-tokens", "data",     "checkpoint", "generate",
                                         "report",        "compare",       "bench",    "docs",       "doctor"};

TEST(CommandLine, HelpListsEveryCommandAndEachHasItsOwn) {
  const Outcome all = drover({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const std::string& command : kCommands) {
    EXPECT_NE(all.output.find("\n  " + command + " "), std::string::npos) << command << " is not in: " << all.output;
    const Outcome own = drover({command, "--help"});
    EXPECT_EQ(own.code, 0) << own.output;
    EXPECT_NE(own.output.find("Usage:"), std::string::npos) << own.output;
  }
  EXPECT_NE(drover({"train", "--help"}).output.find("--set"), std::string::npos);
}

TEST(CommandLine, Version) {
  const Outcome outcome = drover({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.output.rfind("drover " DROVER_VERSION, 0), 0u) << outcome.output;
}

TEST(CommandLine, WhatIsMisspeltEndsWith2AndOneLine) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"trian", "x.yaml"},
                                                {"train"},
                                                {"train", "x.yaml", "--sett", "a=b"},
                                                {"plan", "x.yaml", "--ranks", "none"},
                                                {}}) {
    const Outcome outcome = drover(wrong);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_EQ(testing::count(outcome.output, "\n"), 1) << outcome.output;
    EXPECT_EQ(outcome.output.rfind("drover: error: ", 0), 0u) << outcome.output;
    EXPECT_NE(outcome.output.find("--help"), std::string::npos) << outcome.output;
  }
}

// A name that the system refuses is no error inside Drover.
TEST(CommandLine, AFileOperationThatFailsIsAnErrorOfStorage) {
  const Outcome outcome = drover({"prepare", "--out", std::string(300, 'x'), "/etc/passwd"});
  EXPECT_EQ(outcome.code, 7) << outcome.output;
  EXPECT_NE(outcome.output.find("File name too long"), std::string::npos) << outcome.output;
}

TEST(CommandLine, WhatIsWrongIsNamedWithWhatIsRight) {
  const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> cases = {
      {{"trian", "x.yaml"}, {"unknown command trian", "train, resume, validate"}},
      {{}, {"a command is missing", "train, resume, validate"}},
      {{"plan", "x.yaml", "--ranks", "0"}, {"--ranks", "an integer 1 to 1048576, found \"0\""}},
      {{"plan", "x.yaml", "--ranks", "1e3"}, {"--ranks", "found \"1e3\""}},
      {{"prepare", "--out", "x", "y", "--shard-tokens", "0"}, {"--shard-tokens", "an integer >= 1"}},
      {{"prepare", "--out", "x", "y", "--tokenizer", "gpt2"}, {"tokenizer \"gpt2\"", "neither \"bytes\" nor a file"}},
      {{"prepare", "--out", "x", "y", "--validation-tail", "1"}, {"--validation-tail", "a number 0 to below 1"}},
      {{"generate", "x", "--temperature", "nan"}, {"--temperature", "a number >= 0, found \"nan\""}},
      {{"generate", "x", "--max-tokens", "-1"}, {"--max-tokens", "an integer >= 0"}},
      {{"generate", "x", "--top-k", "-1"}, {"--top-k", "an integer >= 0"}},
      {{"generate", "x", "--seed", "-1"}, {"--seed", "an integer >= 0"}},
  };
  for (const auto& [arguments, words] : cases) {
    const Outcome outcome = drover(arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_LT(outcome.output.size(), 300u) << outcome.output;
    for (const std::string& word : words) EXPECT_NE(outcome.output.find(word), std::string::npos) << outcome.output;
  }
}

// What is one process's work is done and said by one rank, so that ranks started by mistake do not write over each other.
TEST(CommandLine, OneRankSpeaksForAll) {
  testing::Sandbox sandbox;
  const auto on_three = [&](const std::vector<std::string>& arguments) {
    return testing::run_command(sandbox.on_ranks(3, arguments), sandbox.path());
  };
  EXPECT_EQ(testing::count(on_three({"--version"}).output, "drover " DROVER_VERSION), 1);
  EXPECT_EQ(testing::count(on_three({"train", "--help"}).output, "Usage:"), 1);
  const Outcome prepared = on_three({"prepare", "--out", "again", "corpus.jsonl"});
  EXPECT_EQ(prepared.code, 0) << prepared.output;
  EXPECT_EQ(testing::count(prepared.output, "900 documents"), 1) << prepared.output;
  sandbox.configure({{"model.layers", "none"}});
  for (const std::vector<std::string>& command : {std::vector<std::string>{"train"}, {"bench", "step"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back("config.yaml");
    const Outcome wrong = on_three(arguments);
    EXPECT_EQ(wrong.code, 2) << wrong.output;
    EXPECT_EQ(testing::count(wrong.output, "drover: error:"), 1) << wrong.output;
  }
}

TEST(CommandLine, WhatIsNoCheckpointIsSaidBeforeAnyText) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"generate", "tmp", "--prompt", "And God"},
                                                    {"checkpoint", "verify", "tmp"},
                                                    {"checkpoint", "inspect", "tmp"}}) {
    const Outcome outcome = drover(arguments);
    EXPECT_EQ(outcome.code, 3);
    EXPECT_EQ(outcome.output.rfind("drover: error: tmp is neither a checkpoint", 0), 0u) << outcome.output;
  }
}

TEST(CommandLine, PlanPrintsMeshBatchScheduleBubbleAndMemory) {
  const Outcome outcome = drover({"plan", DROVER_SOURCE_DIR "/configs/llama3_70b.yaml", "--ranks", "1024"});
  EXPECT_EQ(outcome.code, 0);
  for (const char* word : {"mesh", "1024 ranks", "batch", "schedule", "bubble", "memory of the worst rank", "weights", "optimizer",
                           "activations", "total"})
    EXPECT_NE(outcome.output.find(word), std::string::npos) << word << " is not in: " << outcome.output;
  EXPECT_EQ(drover({"validate", DROVER_SOURCE_DIR "/configs/llama3_70b.yaml", "--ranks", "1024"}).code, 0);
  const Outcome wrong = drover({"validate", DROVER_SOURCE_DIR "/configs/llama3_70b.yaml", "--ranks", "1000"});
  EXPECT_EQ(wrong.code, 2);
}

constexpr const char* kQuickstart = DROVER_SOURCE_DIR "/configs/quickstart.yaml";

// Half a million micro-batches of stages: what is linear in them takes a second.
TEST(CommandLine, PlanOfManyStages) {
  const Outcome outcome = drover({"plan", kQuickstart, "--ranks", "512", "--set", "parallel.pp=512", "--set", "model.layers=1024",
                                  "--set", "train.micro_batch=1", "--set", "train.global_batch=1024"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  for (const char* part : {"\nstage 511 |", "... 4573 more slots\n", "bubble  33.3 %", "memory of the worst rank"})
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << " is not in: " << outcome.output;
}

TEST(CommandLine, OfOneThereIsNoPlural) {
  const Outcome one = drover({"validate", kQuickstart, "--ranks", "1", "--set", "model.layers=1", "--set", "train.steps=1", "--set",
                              "optimizer.warmup_steps=0", "--set", "train.global_batch=1", "--set", "train.micro_batch=1"});
  EXPECT_EQ(one.code, 0) << one.output;
  for (const char* part : {"is valid for 1 rank\n", " 1 layer (1 a stage)", "mesh    1 rank = dp 1", "batch   1 sequence of ",
                           " * 1 micro-batch of 1\n", "run     1 step, "})
    EXPECT_NE(one.output.find(part), std::string::npos) << part << " is not in: " << one.output;
}

// The figures of a benchmark hang together; on one rank and on several.
TEST(CommandLine, BenchStepMeasures) {
  testing::Sandbox sandbox;
  sandbox.configure({});
  for (const int ranks : {1, 2}) {
    const Outcome outcome = testing::run_command(
        sandbox.on_ranks(ranks, {"bench", "step", "config.yaml", "--steps", "3", "--warmup", "1", "--breakdown", "--json"}),
        sandbox.path());
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    for (const char* op : {"gemm", "attention", "rmsnorm", "optimizer", "the rest"})
      EXPECT_EQ(testing::count(outcome.output, std::string("\n") + op + " "), 1) << op << " in " << outcome.output;
    EXPECT_EQ(testing::count(outcome.output, "\ncommunication "), ranks > 1 ? 1 : 0) << outcome.output;
    const auto figures = nlohmann::json::parse(testing::last_line(outcome.output));
    EXPECT_EQ(figures["ranks"], ranks);
    double share = 0;
    for (const auto& op : figures["ops"]) share += op["share"].get<double>();
    EXPECT_GT(share, ranks > 1 ? 0 : 0.5) << outcome.output;  // several ranks wait for each other as long as the machine likes
    EXPECT_LE(share, 1.0 + 1e-9) << outcome.output;
    EXPECT_GT(figures["ops"]["gemm"]["of_limit"].get<double>(), 0) << outcome.output;
    EXPECT_NEAR(figures["tokens_per_s"].get<double>() * figures["step_s_median"].get<double>(), 24 * 32, 1e-6);
    EXPECT_NEAR(figures["gflop_per_s"].get<double>(),
                figures["share_of_gemm_rate"].get<double>() * figures["gemm_gflop_per_s"].get<double>(), 1e-6);
    EXPECT_LE(figures["step_s_min"].get<double>(), figures["step_s_median"].get<double>());
    EXPECT_LE(figures["step_s_median"].get<double>(), figures["step_s_max"].get<double>());
  }
}

TEST(CommandLine, BenchOpsRefusesWhatItsBenchmarksDoNotKnow) {
  for (const char* option : {"--json", "--benchmark_bogus", "filter"}) {
    const Outcome outcome = drover({"bench", "ops", option});
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find("--benchmark_format=json"), std::string::npos) << outcome.output;
  }
}

// Waiting threads that spin would keep the working ones from the cores.
TEST(CommandLine, MoreThreadsThanCoresWaitPassively) {
  testing::Sandbox sandbox;
  const auto policy = [&](int threads) {
    sandbox.configure({{"train.steps", "100000"}, {"run.threads", std::to_string(threads)}});
    testing::Process run(sandbox.on_ranks(1, sandbox.train_arguments({}, "run_" + std::to_string(threads), {})), sandbox.path());
    EXPECT_TRUE(run.wait_for("step 1/")) << run.output();
    EXPECT_EQ(testing::count(run.output(), "warning: "), threads > 1) << run.output();
    std::ifstream environment("/proc/" + std::to_string(run.pid()) + "/environ");
    for (std::string variable; std::getline(environment, variable, '\0');)
      if (variable.rfind("OMP_WAIT_POLICY=", 0) == 0) return variable;
    return std::string();
  };
  EXPECT_EQ(policy(1), "");
  EXPECT_EQ(policy(2 * static_cast<int>(std::thread::hardware_concurrency())), "OMP_WAIT_POLICY=passive");
}

}  // namespace
}  // namespace drover
