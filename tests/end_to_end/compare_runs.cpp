#include "tests/end_to_end/compare_runs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "trainer/checkpoint/store.h"

namespace drover::testing {
namespace {

std::vector<nlohmann::ordered_json> rows(const std::filesystem::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  std::vector<nlohmann::ordered_json> result;
  for (std::string line; std::getline(file, line);) result.push_back(nlohmann::ordered_json::parse(line));
  return result;
}

double number(const nlohmann::ordered_json& row, const char* key) {
  if (!row.contains(key) || row[key].is_null()) return std::numeric_limits<double>::quiet_NaN();
  return row[key].get<double>();
}

}  // namespace

std::vector<MetricsRow> read_metrics(const std::filesystem::path& run) {
  std::vector<MetricsRow> result;
  for (const auto& row : rows(run))
    result.push_back({.step = row.at("step").get<int64_t>(), .tokens = row.value("tokens", int64_t{0}), .loss = number(row, "loss"),
                      .grad_norm = number(row, "grad_norm"), .lr = number(row, "lr"), .skipped = row.value("skipped", false),
                      .validation = row.contains("validation_loss"), .validation_loss = number(row, "validation_loss")});
  return result;
}

std::string metrics_without_timings(const std::filesystem::path& run) {
  std::string text;
  for (auto row : rows(run)) {
    row.erase("seconds");
    row.erase("tokens_per_second");
    text += row.dump() + "\n";
  }
  return text;
}

void expect_close_rows(const std::vector<MetricsRow>& expected, const std::vector<MetricsRow>& actual, double bound) {
  ASSERT_EQ(expected.size(), actual.size());
  ASSERT_FALSE(expected.empty());
  for (size_t i = 0; i < expected.size(); ++i) {
    const MetricsRow &a = expected[i], &b = actual[i];
    SCOPED_TRACE("step " + std::to_string(a.step));
    EXPECT_EQ(a.step, b.step);
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.validation, b.validation);
    if (a.validation) {
      EXPECT_NEAR(b.validation_loss / a.validation_loss, 1, bound);
      continue;
    }
    EXPECT_EQ(a.lr, b.lr);
    EXPECT_NEAR(b.loss / a.loss, 1, bound);
    EXPECT_NEAR(b.grad_norm / a.grad_norm, 1, bound);
  }
}

void expect_close_metrics(const std::filesystem::path& expected, const std::filesystem::path& actual, double bound) {
  expect_close_rows(read_metrics(expected), read_metrics(actual), bound);
}

double expect_close_tensors(const std::filesystem::path& expected, const std::filesystem::path& actual, const std::string& array, double bound) {
  int compared = 0;
  double largest = 0;
  for (const TensorDifference& difference : compare_checkpoints(expected, actual)) {
    if (difference.array != array) continue;
    ++compared;
    EXPECT_LE(difference.relative, bound) << array << " of " << difference.name;
    largest = std::max(largest, difference.relative);
  }
  EXPECT_GT(compared, 0) << expected << " has no array " << array;
  return largest;
}

void expect_equal_tensors(const std::filesystem::path& expected, const std::filesystem::path& actual, const std::string& array) {
  int compared = 0;
  for (const TensorDifference& difference : compare_checkpoints(expected, actual)) {
    if (!array.empty() && difference.array != array) continue;
    ++compared;
    EXPECT_TRUE(difference.equal_bits) << difference.array << " of " << difference.name << " differs by " << difference.largest;
  }
  EXPECT_GT(compared, 0) << expected << " has no array " << array;
}

}  // namespace drover::testing
