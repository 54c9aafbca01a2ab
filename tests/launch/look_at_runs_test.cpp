// `drover report` and `drover compare` on runs as they happen: killed, stopped, resumed with other settings, in other layouts.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <regex>

#include "tests/end_to_end/run_drover.h"
#include "tests/trainer/well_formed.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Outcome;
using testing::Process;
using testing::Sandbox;

constexpr int kEqual = 0, kDifferent = 10, kNoRun = 3;

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<nlohmann::json> history(const Sandbox& sandbox, const std::string& run) {
  std::vector<nlohmann::json> rows;
  std::ifstream file(sandbox.path() / run / "history.jsonl");
  for (std::string line; std::getline(file, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

// Killed once `text` was printed; by signal KILL to one rank, or USR1 to the launcher.
void end_at(const Sandbox& sandbox, const Layout& layout, const std::vector<std::string>& set, const std::string& text,
            int signal) {
  Process launcher(sandbox.on_ranks(layout.ranks(), sandbox.train_arguments(layout, "run", set)), sandbox.path());
  ASSERT_TRUE(launcher.wait_for(text)) << launcher.output();
  if (signal == SIGKILL) {
    const std::vector<pid_t> ranks = testing::descendants(launcher.pid(), "drover");
    ASSERT_FALSE(ranks.empty());
    kill(ranks.back(), SIGKILL);
  } else {
    kill(launcher.pid(), signal);
  }
  launcher.wait();
}

TEST(Report, TellsOfAKillAStopAndAResumeWithOtherSettings) {
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "60"},
                     {"checkpoint.every", "5"},
                     {"data.validation", "data"},
                     {"train.validate_every", "30"},
                     {"train.validation_batches", "1"}});
  const std::string again = "checkpoint.resume=auto";
  end_at(sandbox, {2, 1, 1}, {again}, "step 12/", SIGKILL);
  end_at(sandbox, {2, 1, 1}, {again, "optimizer.lr=0.002"}, "resumed from", SIGUSR1);
  const Outcome last = sandbox.train({1, 2, 1}, "run", {again, "optimizer.lr=0.002"});
  ASSERT_EQ(last.code, 0) << last.output;

  const auto rows = history(sandbox, "run");
  std::vector<std::string> events;
  for (const auto& row : rows)
    if (row["event"] != "spent") events.push_back(row["event"] == "end" ? row["reason"] : row["event"]);
  EXPECT_EQ(events, (std::vector<std::string>{"start", "start", "signal", "start", "done"}));

  const Outcome made = sandbox.drover({"report", "run"});
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_EQ(made.output, "run/report.html\n");
  const std::string html = read(sandbox.path() / "run" / "report.html");
  EXPECT_EQ(testing::not_well_formed(html), "");
  EXPECT_EQ(html.find("http"), std::string::npos);
  for (const char* text :
       {">killed<", ">stopped by a signal<", ">done<", "optimizer.lr: <del>0.003</del> → 0.002", "dp 2, tp 1, pp 1, zero 1",
        "dp 1, tp 2, pp 1, zero 1", "<b>3</b><small>1 killed", "matrix products", "writing checkpoints", "resumed at step"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
  for (const auto& row : sandbox.metrics("run")) {
    const std::string field = row.contains("loss") ? "loss" : "validation_loss";
    if (row["step"] != 60) continue;
    char value[32];
    std::snprintf(value, sizeof value, ">%.6g</td>", row[field].get<double>());
    EXPECT_NE(html.find(value), std::string::npos) << field << " " << value;
  }
}

// All that rank 0 did between its start and its end is in some part, once.
TEST(Report, TimePartsAddUpToTheRun) {
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "40"},
                     {"checkpoint.every", "10"},
                     {"data.validation", "data"},
                     {"train.validate_every", "10"},
                     {"train.validation_batches", "2"}});
  const Outcome trained = sandbox.train({1, 1, 2}, "run");
  ASSERT_EQ(trained.code, 0) << trained.output;
  std::map<std::string, double> parts;
  double all = 0, steps = 0;
  for (const auto& row : history(sandbox, "run"))
    if (row.contains("seconds"))
      for (const auto& [part, seconds] : row["seconds"].items()) {
        parts[part] += seconds.get<double>();
        all += seconds.get<double>();
      }
  for (const auto& row : sandbox.metrics("run")) steps += row.value("seconds", 0.0);
  for (const char* part : {"gemm", "attention", "communication", "start", "validation", "checkpoint"})
    EXPECT_GT(parts[part], 0) << part;
  const double of_steps = all - parts["start"] - parts["validation"] - parts["checkpoint"];
  EXPECT_NEAR(of_steps, steps, 0.15 * steps) << "the steps' own seconds in metrics.jsonl";
}

TEST(Report, AFailedRunSaysWhy) {
  Sandbox sandbox;
  sandbox.configure(
      {{"optimizer.lr", "1e30"}, {"optimizer.weight_decay", "0"}, {"optimizer.clip", "0"}, {"train.max_skipped", "2"}});
  const Outcome outcome = sandbox.train({2, 1, 1}, "run");
  ASSERT_EQ(outcome.code, 93) << outcome.output;
  const auto last = history(sandbox, "run").back();
  EXPECT_EQ(last["reason"], "error");
  EXPECT_EQ(last["exit_code"], 93);
  EXPECT_NE(last["message"].get<std::string>().find("not finite"), std::string::npos);
  ASSERT_EQ(sandbox.drover({"report", "run", "--out", "page.html"}).code, 0);
  const std::string html = read(sandbox.path() / "page.html");
  EXPECT_NE(html.find("error, exit code 93"), std::string::npos);
  EXPECT_NE(html.find("skipped steps"), std::string::npos);
}

class Compare : public ::testing::Test {
 protected:
  Compare() {
    sandbox_.configure({{"data.validation", "data"}, {"train.validate_every", "10"}, {"train.validation_batches", "1"}});
    train({1, 1, 1}, "a", {});
  }
  void train(const Layout& layout, const std::string& run, const std::vector<std::string>& set) const {
    const Outcome outcome = sandbox_.train(layout, run, set);
    ASSERT_EQ(outcome.code, 0) << outcome.output;
  }
  Outcome with(const std::string& run) const { return sandbox_.drover({"compare", "a", run}); }
  static bool says(const Outcome& outcome, const std::string& text) { return outcome.output.find(text) != std::string::npos; }
  Sandbox sandbox_;
};

TEST_F(Compare, EqualRuns) {
  train({1, 1, 1}, "b", {});
  const Outcome outcome = with("b");
  EXPECT_EQ(outcome.code, kEqual) << outcome.output;
  EXPECT_TRUE(says(outcome, "every row is equal")) << outcome.output;
  EXPECT_TRUE(says(outcome, "both have 20 steps and 2 validations")) << outcome.output;
  EXPECT_TRUE(says(outcome, "settings, layout, threads, build and data are the same")) << outcome.output;
}

TEST_F(Compare, AnotherSeedDiffersFromTheFirstStep) {
  train({1, 1, 1}, "b", {"train.seed=4"});
  const Outcome outcome = with("b");
  EXPECT_EQ(outcome.code, kDifferent) << outcome.output;
  EXPECT_TRUE(says(outcome, "  train.seed: 3 -> 4\n")) << outcome.output;
  EXPECT_TRUE(says(outcome, "first difference: step 1\n  grad_norm ")) << outcome.output;
  const auto a = sandbox_.metrics("a").front()["loss"].get<double>(), b = sandbox_.metrics("b").front()["loss"].get<double>();
  std::smatch found;
  ASSERT_TRUE(
      std::regex_search(outcome.output, found, std::regex("  loss +(\\S+) -> (\\S+)  differs by (\\S+), relative (\\S+)\n")));
  EXPECT_EQ(std::stod(found[1]), a);
  EXPECT_EQ(std::stod(found[2]), b);
  EXPECT_NEAR(std::stod(found[3]), std::abs(b - a), 0.01 * std::abs(b - a));
  EXPECT_NEAR(std::stod(found[4]), std::abs(b - a) / a, 0.01 * std::abs(b - a) / a);
}

// A setting that bites at step 11 only.
TEST_F(Compare, NamesTheFirstStepThatDiffers) {
  train({1, 1, 1}, "b", {"train.steps=10", "optimizer.schedule=constant"});
  train({1, 1, 1}, "c", {"optimizer.schedule=constant"});
  std::filesystem::copy(sandbox_.path() / "b", sandbox_.path() / "d", std::filesystem::copy_options::recursive);
  const Outcome resumed = sandbox_.resume({1, 1, 1}, "d", {"train.steps=20", "optimizer.weight_decay=0.5"});
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const Outcome outcome = sandbox_.drover({"compare", "c", "d"});
  EXPECT_EQ(outcome.code, kDifferent) << outcome.output;
  // The decay acts on the weights at the end of step 11, and so on the loss of step 12.
  EXPECT_TRUE(says(outcome, "first difference: step 12\n")) << outcome.output;
  EXPECT_TRUE(says(outcome, "optimizer.weight_decay: 0.1 -> 0.1, then 0.5 from step 11 on\n")) << outcome.output;
  const Outcome shorter = sandbox_.drover({"compare", "b", "c"});
  EXPECT_EQ(shorter.code, kDifferent) << shorter.output;
  EXPECT_TRUE(says(shorter, "only B has 10 steps, 11 to 20\nonly B has 1 validation\n")) << shorter.output;
  EXPECT_TRUE(says(shorter, "first difference: step 11, which only one of them has; every row that both have is equal"))
      << shorter.output;
}

// Equal where the runs ended, and not on the way.
TEST_F(Compare, ASettingThatWasChangedBackIsNamed) {
  train({1, 1, 1}, "b", {"train.steps=10"});
  for (const auto& [steps, decay] : {std::pair{"15", "0.5"}, {"20", "0.1"}}) {
    const Outcome resumed =
        sandbox_.resume({1, 1, 1}, "b", {std::string("train.steps=") + steps, std::string("optimizer.weight_decay=") + decay});
    ASSERT_EQ(resumed.code, 0) << resumed.output;
  }
  const Outcome outcome = with("b");
  EXPECT_EQ(outcome.code, kDifferent) << outcome.output;
  EXPECT_TRUE(says(outcome, "optimizer.weight_decay: 0.1 -> 0.1, then 0.5 from step 11 on, then 0.1 from step 16 on\n"))
      << outcome.output;
}

TEST_F(Compare, AFieldThatOneRowLacksIsAbsent) {
  train({1, 1, 1}, "b", {});
  const std::filesystem::path rows = sandbox_.path() / "b" / "metrics.jsonl";
  std::string text = read(rows);
  text.insert(text.find("\"loss\""), "\"skipped\":true,");
  std::ofstream(rows) << text;
  const Outcome outcome = with("b");
  EXPECT_EQ(outcome.code, kDifferent) << outcome.output;
  EXPECT_TRUE(says(outcome, "first difference: step 1\n  skipped          absent -> 1\n")) << outcome.output;
}

TEST_F(Compare, AnotherLayoutDiffersByRounding) {
  train({2, 2, 1}, "b", {});
  const Outcome outcome = with("b");
  EXPECT_EQ(outcome.code, kDifferent) << outcome.output;
  for (const char* text :
       {"  parallel.tp: 1 -> 2\n", "  layout: dp 1, tp 1, pp 1, zero 1 -> dp 2, tp 2, pp 1, zero 1\n", "  ranks: 1 -> 4\n"})
    EXPECT_TRUE(says(outcome, text)) << outcome.output;
  std::smatch found;
  const std::string largest = outcome.output.substr(outcome.output.find("largest differences"));
  ASSERT_TRUE(std::regex_search(largest, found, std::regex("  loss .* relative (\\S+), at step [0-9]+\n"))) << outcome.output;
  EXPECT_LT(std::stod(found[1]), 1e-5);
}

TEST_F(Compare, ARunThatIsNotThereIsAnErrorThatNamesIt) {
  for (const auto& pair : {std::pair<std::string, std::string>{"a", "none"}, {"none", "a"}}) {
    const Outcome outcome = sandbox_.drover({"compare", pair.first, pair.second});
    EXPECT_EQ(outcome.code, kNoRun) << outcome.output;
    EXPECT_EQ(outcome.output.rfind("drover: error: none holds no run", 0), 0u) << outcome.output;
  }
  const Outcome report = sandbox_.drover({"report", "none"});
  EXPECT_EQ(report.code, kNoRun) << report.output;
}

TEST(RunsOnDisk, WhatCannotBeReadIsNotEqual) {
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "20"}});
  for (const char* run : {"a", "b"}) ASSERT_EQ(sandbox.train({1, 1, 1}, run, {}).code, kEqual);
  const std::filesystem::path rows = sandbox.path() / "b" / "metrics.jsonl";
  std::string text = read(rows);
  text.insert(text.find('\n') + 1, "garbage\n");
  std::ofstream(rows) << text;
  const Outcome damaged = sandbox.drover({"compare", "a", "b"});
  EXPECT_EQ(damaged.code, kEqual) << damaged.output;
  EXPECT_NE(damaged.output.find("B has 1 line in its metrics.jsonl that is no row"), std::string::npos) << damaged.output;
  ASSERT_EQ(sandbox.drover({"report", "b"}).code, 0);
  EXPECT_NE(read(sandbox.path() / "b" / "report.html").find("1 line that is no row left out"), std::string::npos);

  std::filesystem::remove(rows);
  const Outcome missing = sandbox.drover({"compare", "a", "b"});
  EXPECT_EQ(missing.code, 2) << missing.output;
  EXPECT_NE(missing.output.find("b/metrics.jsonl holds no step"), std::string::npos) << missing.output;
  std::filesystem::create_directory(rows);
  for (const std::vector<std::string>& look : {std::vector<std::string>{"compare", "a", "b"}, {"report", "b"}}) {
    const Outcome unreadable = sandbox.drover(look);
    EXPECT_EQ(unreadable.code, 7) << unreadable.output;
    EXPECT_NE(unreadable.output.find("cannot read b/metrics.jsonl: not a file"), std::string::npos) << unreadable.output;
  }
}

TEST(RunsOnDisk, AReportIsWrittenToAFileAndToNothingElse) {
  Sandbox sandbox;
  sandbox.configure({{"train.steps", "20"}});
  ASSERT_EQ(sandbox.train({1, 1, 1}, "a", {}).code, 0);
  std::filesystem::create_symlink("page.html", sandbox.path() / "link.html");
  EXPECT_EQ(sandbox.drover({"report", "a", "--out", "link.html"}).code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(sandbox.path() / "link.html"));
  EXPECT_TRUE(std::filesystem::is_regular_file(sandbox.path() / "page.html"));
  ASSERT_EQ(mkfifo((sandbox.path() / "device").c_str(), 0600), 0);  // a device of the machine would be lost where this fails
  for (const char* out : {"a", "device"}) {
    const Outcome outcome = sandbox.drover({"report", "a", "--out", out});
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find(std::string("--out ") + out + ": not a file"), std::string::npos) << outcome.output;
  }
}

}  // namespace
}  // namespace drover
