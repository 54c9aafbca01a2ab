#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <regex>

#include "configs/load.h"
#include "kernels/base/error.h"
#include "tests/trainer/testing.h"
#include "tests/trainer/well_formed.h"
#include "trainer/history.h"
#include "trainer/json_lines.h"
#include "trainer/report/chart.h"
#include "trainer/report/html.h"
#include "trainer/report/layout.h"
#include "trainer/report/page.h"
#include "trainer/run_directory.h"

namespace drover {
namespace {

namespace fs = std::filesystem;

// A run directory made by hand.
class Report : public ::testing::Test {
 protected:
  Report() {
    std::string name = fs::temp_directory_path() / "report_XXXXXX";
    directory_ = mkdtemp(name.data());
    config_ = testing::small_config();
    config_.train.steps = 300;
    config_.data.train = {"data"};
    config_.run.dir = directory_;
    std::ofstream(directory_ / "config.yaml") << to_yaml(config_);
  }
  ~Report() override { fs::remove_all(directory_); }

  void write_metrics(int64_t steps) const {
    std::ofstream file(directory_ / "metrics.jsonl");
    for (int64_t step = 1; step <= steps; ++step) {
      const double loss = 1 + 4 / std::sqrt(static_cast<double>(step));
      file << R"({"step": )" << step << R"(, "loss": )" << loss << R"(, "grad_norm": 0.5, "lr": 0.001, "tokens": )" << step * 64
           << R"(, "tokens_per_second": 1234, "seconds": 0.5})"
           << "\n";
      if (step % 100 == 0)
        file << R"({"step": )" << step << R"(, "validation_loss": )" << loss + 0.25 << R"(, "bits_per_byte": )" << loss / 2
             << "}\n";
    }
  }
  static RunStart start(int64_t step) {
    return {.host = "h", .ranks = 2, .layout = "dp 2", .build = "b", .step = step, .changed = {}};
  }
  std::string page() const {
    std::string html = report_page(directory_);
    EXPECT_EQ(testing::not_well_formed(html), "");
    return html;
  }

  fs::path directory_;
  Config config_;
};

TEST(WellFormed, SeesWhatIsNot) {
  EXPECT_EQ(testing::not_well_formed("<!DOCTYPE html><a b=\"c\">&lt;<i/></a>"), "");
  for (const char* wrong :
       {"<a><b></a></b>", "<a>", "</a>", "<a b=c></a>", "<a b></a>", "<a>&nope;</a>", "<a>&</a>", "<a b=\"<\"></a>", "<a>></a><"})
    EXPECT_NE(testing::not_well_formed(wrong), "") << wrong;
}

TEST_F(Report, LoadsNothingFromAnywhere) {
  write_metrics(300);
  const std::string html = page();
  for (const char* part : {"http:", "https:", "//", "src=", "href=", "@import", "url("})
    if (std::string(part) == "//")
      EXPECT_FALSE(std::regex_search(html, std::regex("[\"'(]//"))) << part;
    else
      EXPECT_EQ(html.find(part), std::string::npos) << part;
}

TEST_F(Report, ShowsTheValues) {
  write_metrics(300);
  const std::string html = page();
  for (const char* text : {"<b>300</b><small>of 300", ">1.2309<", ">1.4809<", "lowest 1.4809 at 300", "of the validation's text",
                           ">1234<", "<b>19.2k</b>"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
  for (const char* title : {"Loss", "Gradient norm", "Learning rate", "Speed"})
    EXPECT_NE(html.find(std::string("<b>") + title + "</b>"), std::string::npos) << title;
  // Every step is a point of the loss line, and each validation one of the other.
  const std::regex values("data-name=\"(train|validation)\" data-steps=\"([^\"]*)\"");
  std::map<std::string, long> points;
  for (std::sregex_iterator at(html.begin(), html.end(), values), end; at != end; ++at) {
    const std::string steps = (*at)[2];
    points[(*at)[1]] = 1 + std::count(steps.begin(), steps.end(), ',');
  }
  EXPECT_EQ(points["train"], 300);
  EXPECT_EQ(points["validation"], 3);
}

TEST_F(Report, ADirectoryWithoutARunIsAnError) {
  fs::remove(directory_ / "config.yaml");
  try {
    report_page(directory_);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::resume);
    EXPECT_NE(std::string(error.what()).find("holds no run"), std::string::npos) << error.what();
  }
}

TEST_F(Report, AConfigurationOfAnotherVersionIsAnError) {
  std::ofstream(directory_ / "config.yaml", std::ios::app) << "later:\n  key: 1\n";
  EXPECT_THROW(report_page(directory_), Error);
}

TEST_F(Report, BeforeTheFirstStepThereIsAPageToo) {
  const std::string html = page();
  EXPECT_NE(html.find("none was finished yet"), std::string::npos);
  EXPECT_NE(html.find("no start was recorded"), std::string::npos);
}

TEST_F(Report, TellsEveryStartAndItsEnd) {
  write_metrics(300);
  {
    History history(directory_, true);
    history.started(start(0));
    history.reached(40);
    history.saved();
    history.spent({{"gemm", 30.0}, {"communication", 10.0}});
  }  // killed
  RunStart second = start(40);
  second.changed = {{"optimizer.lr", "0.25", "0.125"}};
  second.build = "another";
  {
    History history(directory_, true);
    history.started(second);
    history.reached(90);
    history.ended(ExitCode::requeue, {{"gemm", 10.0}});
  }
  {
    History history(directory_, true);
    history.started(start(90));
    history.failed(ExitCode::storage, "disk <full> & \"gone\"");
  }
  {
    History history(directory_, true);
    history.started(start(90));
    history.reached(300);
    history.ended(ExitCode::done, {{"validation", 50.0}});
  }
  const std::string html = page();
  for (const char* text :
       {">killed<", "≥ 40<", ">stopped by a signal<", ">error, exit code 7<", "disk &lt;full&gt; &amp; &quot;gone&quot;", ">done<",
        "optimizer.lr: <del>0.25</del> → 0.125", "<code>another</code>", "<b>4</b><small>1 killed"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
  for (const char* text : {"1 min 40 s in all", "matrix products</th><td class=\"number\">40.00 s</td><td class=\"number\">40.0 %",
                           "validation</th><td class=\"number\">50.00 s</td><td class=\"number\">50.0 %"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
  EXPECT_NE(html.find("resumed at step 40<"), std::string::npos);
  EXPECT_NE(html.find("<tr class=\"changed\"><th>lr</th>"), std::string::npos);
}

// Held by a process: the last start is running, an earlier one without an end was killed all the same.
TEST_F(Report, ARunThatTrainsIsSaidToBeRunning) {
  write_metrics(10);
  const RunDirectory held(directory_, 0);
  for (int i = 0; i < 2; ++i) History(directory_, true).started(start(0));
  const std::string html = page();
  EXPECT_NE(html.find(">running</span>"), std::string::npos);
  EXPECT_NE(html.find(">killed<"), std::string::npos);
  EXPECT_NE(html.find("<b>2</b><small>1 killed"), std::string::npos);
}

TEST_F(Report, ALongRunMakesASmallPage) {
  write_metrics(200000);
  const std::string html = page();
  EXPECT_LT(html.size(), 250000u);
  EXPECT_NE(html.find("mean and range of 334 steps"), std::string::npos);
}

TEST_F(Report, SkippedStepsAreCountedAndLeftOut) {
  std::ofstream(directory_ / "metrics.jsonl") << R"({"step": 1, "loss": 3, "grad_norm": 1, "lr": 1})"
                                              << "\n"
                                              << R"({"step": 2, "loss": null, "grad_norm": null, "lr": 1, "skipped": true})"
                                              << "\n{\"step\": 3, \"lo";
  const std::string html = page();
  EXPECT_NE(html.find("<span>skipped steps</span><b>1</b>"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
  EXPECT_EQ(html.find("inf,"), std::string::npos);
}

TEST(ReportLayout, EachRankStandsAtItsPlace) {
  const Mesh mesh(std::array<int, kAxes>{2, 1, 2, 2, 1});
  const std::string html = report::mesh_table(mesh);
  EXPECT_NE(html.find("<tr><th>dp 1</th><td class=\"stage\">4</td><td>5</td><td class=\"stage\">6</td><td>7</td></tr>"),
            std::string::npos)
      << html;
  EXPECT_EQ(testing::not_well_formed(html), "");
}

TEST(ReportLayout, ThousandsOfRanksAreCutShort) {
  const std::string html = report::mesh_table(Mesh(std::array<int, kAxes>{8, 1, 16, 128, 1}));
  EXPECT_LT(html.size(), 40000u);
  EXPECT_NE(html.find("112 more rows"), std::string::npos);
  EXPECT_NE(html.find("96 more columns"), std::string::npos);
}

TEST(ReportLayout, TheScheduleHasABoxForEachForwardAndBackward) {
  Config config = testing::small_config();
  config.parallel.pp = 3;
  config.train.global_batch = 10;
  const std::string html = report::schedule_picture(config, Mesh(config.parallel));
  const auto count = [&](const std::string& part) {
    int found = 0;
    for (size_t at = html.find(part); at != std::string::npos; at = html.find(part, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<rect class=\"forward\""), 15);
  EXPECT_EQ(count("<rect class=\"backward\""), 15);
  EXPECT_NE(html.find("5 micro-batches. Idle share of the whole step: 28.6 %"), std::string::npos) << html;
  EXPECT_EQ(testing::not_well_formed(html), "");
}

TEST(ReportSeries, BucketsHoldMeanAndRange) {
  std::vector<int64_t> step;
  std::vector<double> value;
  for (int i = 1; i <= 1000; ++i) {
    step.push_back(i);
    value.push_back(i == 7 ? NAN : i);
  }
  const std::vector<report::Bucket> buckets = report::shortened(step, value, 100);
  ASSERT_EQ(buckets.size(), 100u);
  EXPECT_EQ(buckets[0].mean, (55.0 - 7) / 9);
  EXPECT_EQ(buckets[1].first, 11);
  EXPECT_EQ(buckets[1].last, 20);
  EXPECT_EQ(buckets[1].low, 11);
  EXPECT_EQ(buckets[1].high, 20);
  EXPECT_EQ(buckets[1].mean, 15.5);
  EXPECT_EQ(report::shortened(step, value, 1000).size(), 999u) << "the one that is no number is left out";
}

TEST(ReportChart, TicksAreRoundAndSpanTheRange) {
  for (const auto& [low, high] :
       std::vector<std::pair<double, double>>{{0, 1}, {1.2, 5.6}, {0, 0.00123}, {-3, 4}, {0, 1e6}, {2.41, 2.43}}) {
    const std::vector<double> ticks = report::round_ticks(low, high, 5);
    EXPECT_LE(ticks.front(), low);
    EXPECT_GE(ticks.back(), high * (1 - 1e-9));
    EXPECT_GE(ticks.size(), 3u);
    EXPECT_LE(ticks.size(), 8u);
  }
  EXPECT_EQ(report::round_ticks(1.2, 5.6, 5), (std::vector<double>{1, 2, 3, 4, 5, 6}));
}

TEST(ReportText, NumbersForPeople) {
  EXPECT_EQ(report::grouped(999), "999");
  EXPECT_EQ(report::grouped(1234567), "1,234,567");
  EXPECT_EQ(report::grouped(-1234), "-1,234");
  EXPECT_EQ(report::brief(0.006), "0.006");
  EXPECT_EQ(report::brief(9999), "9999");
  EXPECT_EQ(report::brief(12345), "12.35k");
  EXPECT_EQ(report::brief(1e6), "1M");
  EXPECT_EQ(report::bytes_text(1023), "1023 B");
  EXPECT_EQ(report::bytes_text(3 << 19), "1.50 MiB");
}

TEST(HistoryFile, ATornLineDoesNotSpoilTheNextStart) {
  std::string name = fs::temp_directory_path() / "history_XXXXXX";
  const fs::path directory = mkdtemp(name.data());
  History(directory, true).started({.time = {}, .host = "first", .changed = {}});
  std::ofstream(directory / "history.jsonl", std::ios::app) << R"({"event":"spent","ti)";
  History(directory, true).started({.time = {}, .host = "second", .changed = {}});
  const std::vector<Session> sessions = read_history(directory);
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[1].start.host, "second");
  EXPECT_FALSE(sessions[0].end);
  fs::remove_all(directory);
}

TEST(HistoryFile, OtherRanksWriteErrorsOnly) {
  std::string name = fs::temp_directory_path() / "history_XXXXXX";
  const fs::path directory = mkdtemp(name.data());
  History(directory, true).started({.time = {}, .host = "h", .changed = {}});
  History other(directory, false);
  other.failed(ExitCode::data, "before it started");
  other.started({.time = {}, .host = "other", .changed = {}});
  other.spent({{"gemm", 1.0}});
  other.failed(ExitCode::data, "its own");
  const std::vector<Session> sessions = read_history(directory);
  ASSERT_EQ(sessions.size(), 1u);
  ASSERT_TRUE(sessions[0].end);
  EXPECT_EQ(sessions[0].end->message, "its own");
  EXPECT_TRUE(sessions[0].seconds.empty());
  fs::remove_all(directory);
}

}  // namespace
}  // namespace drover
