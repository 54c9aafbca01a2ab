#include "trainer/metrics.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "trainer/event.pb.h"
#include "trainer/record_file.h"

namespace drover {
namespace {

namespace fs = std::filesystem;

class MetricsFile : public ::testing::Test {
 protected:
  MetricsFile() {
    std::string name = fs::temp_directory_path() / "metrics_XXXXXX";
    directory_ = mkdtemp(name.data());
  }
  ~MetricsFile() override { fs::remove_all(directory_); }
  fs::path path() const { return directory_ / "metrics.jsonl"; }
  std::vector<nlohmann::json> rows() const {
    std::vector<nlohmann::json> all;
    std::ifstream file(path());
    for (std::string line; std::getline(file, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }
  void write(const std::string& text) const { std::ofstream(path()) << text; }

 private:
  fs::path directory_;
};

TEST_F(MetricsFile, RowsHaveTheirFieldsAndEveryDigit) {
  const double loss = 2.0 / 3, norm = 1e-17 / 3;
  Metrics metrics(path(), 0);
  metrics.step(1, {.loss = loss, .grad_norm = norm, .weight = 4, .lr = 0.1}, 4096, 0.25, 16384, 0.5);
  metrics.validation(1, {.loss = loss, .bits_per_byte = {}, .tokens = 4});
  metrics.validation(2, {.loss = loss, .bits_per_byte = loss / 3, .tokens = 4});
  const auto all = rows();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0]["step"], 1);
  EXPECT_EQ(all[0]["loss"].get<double>(), loss);
  EXPECT_EQ(all[0]["grad_norm"].get<double>(), norm);
  EXPECT_EQ(all[0]["lr"].get<double>(), 0.1);
  EXPECT_EQ(all[0]["tokens"], 4096);
  EXPECT_EQ(all[0]["tokens_per_second"], 16384);
  EXPECT_EQ(all[0]["data_share"], 0.5);
  EXPECT_EQ(all[0]["seconds"], 0.25);
  EXPECT_FALSE(all[0].contains("skipped"));
  EXPECT_EQ(all[1]["validation_loss"].get<double>(), loss);
  EXPECT_FALSE(all[1].contains("grad_norm"));
  EXPECT_FALSE(all[1].contains("bits_per_byte"));
  EXPECT_EQ(all[2]["bits_per_byte"].get<double>(), loss / 3);
}

TEST_F(MetricsFile, ASkippedStepIsJsonToo) {
  Metrics(path(), 0).step(1, {.loss = std::nan(""), .grad_norm = INFINITY, .skipped = true}, 1, 1, 1, 0);
  const auto all = rows();
  EXPECT_TRUE(all[0]["loss"].is_null());
  EXPECT_TRUE(all[0]["grad_norm"].is_null());
  EXPECT_EQ(all[0]["skipped"], true);
}

TEST_F(MetricsFile, ResumeDropsLaterStepsAndATornLine) {
  write(
      "{\"step\": 1, \"loss\": 3}\n{\"step\": 2, \"loss\": 2}\n{\"step\": 2, \"validation_loss\": 2}\n{\"step\": 3, \"loss\": "
      "1}\n{\"step\": 2, \"lo");
  { Metrics(path(), 2).step(3, {.loss = 0.5}, 1, 1, 1, 0); }
  const auto all = rows();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2]["validation_loss"], 2);
  EXPECT_EQ(all[3]["step"], 3);
  EXPECT_EQ(all[3]["loss"], 0.5);
}

TEST_F(MetricsFile, ARowOfZerosThatAFailedDiskLeftIsDropped) {
  write("{\"step\": 1, \"loss\": 3}\n" + std::string(40, '\0') + "\n{\"step\": 2, \"loss\": 2}\n");
  { Metrics metrics(path(), 2); }
  EXPECT_EQ(rows().size(), 2u);
}

// The same steps in both files, whatever was resumed.
TEST_F(MetricsFile, EventFilesHoldTheSameRows) {
  {
    Metrics metrics(path(), 0);
    for (int step = 1; step <= 5; ++step)
      metrics.step(step, {.loss = 1.0 / step, .grad_norm = 2, .lr = 0, .skipped = false}, 1, 3, 4, 0.25);
    metrics.validation(5, {.loss = 7, .bits_per_byte = {}, .tokens = 1});
  }
  { Metrics(path(), 3).step(4, {.loss = 0.5, .grad_norm = 2}, 1, 3, 4, 0.25); }
  std::map<std::string, std::vector<float>> found;
  for (const fs::path& file : event_files(path().parent_path())) {
    RecordReader reader(file);
    std::string data;
    for (pb::Event event; reader.next(data) && event.ParseFromString(data);)
      for (const pb::Summary::Value& value : event.summary().value()) found[value.tag()].push_back(value.simple_value());
  }
  EXPECT_EQ(found.size(), 6u);
  EXPECT_EQ(found["loss"], (std::vector<float>{1.0f, 1.0f / 2, 1.0f / 3, 0.5f}));
  EXPECT_EQ(found["lr"], (std::vector<float>(4, 0)));
  EXPECT_EQ(found["grad_norm"], (std::vector<float>(4, 2)));
  EXPECT_EQ(found["seconds"], (std::vector<float>(4, 3)));
  EXPECT_EQ(found["tokens_per_second"], (std::vector<float>(4, 4)));
  EXPECT_EQ(found["data_share"], (std::vector<float>(4, 0.25)));
}

TEST_F(MetricsFile, KnowsWhetherAStepWasValidated) {
  EXPECT_FALSE(has_validation(path(), 1)) << "no file yet";
  write("{\"step\": 1, \"loss\": 3}\n{\"step\": 2, \"validation_loss\": 2}\n{\"step\": 3, \"validation_loss\": 2");
  EXPECT_FALSE(has_validation(path(), 1));
  EXPECT_TRUE(has_validation(path(), 2));
  EXPECT_FALSE(has_validation(path(), 3)) << "a torn line";
}

TEST_F(MetricsFile, ARowThatCannotBeWrittenIsAStorageError) {
  Metrics metrics(path(), 0);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none{0, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  std::string said;
  try {
    metrics.step(1, {}, 1, 1, 1, 0);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::storage);
    said = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(said.find("metrics.jsonl"), std::string::npos) << said;
}

}  // namespace
}  // namespace drover
