// What two runs left behind, compared.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace drover::testing {

struct MetricsRow {
  int64_t step = 0, tokens = 0;
  double loss = 0, grad_norm = 0, lr = 0;  // NaN where the row says null
  bool skipped = false, validation = false;
  double validation_loss = 0;
};
std::vector<MetricsRow> read_metrics(const std::filesystem::path& run);

// metrics.jsonl without the two fields that hold timings, as text.
std::string metrics_without_timings(const std::filesystem::path& run);

// Steps, tokens and learning rates equal; losses and gradient norms within `bound`, relative. Reports each difference as a failure.
void expect_close_metrics(const std::filesystem::path& expected, const std::filesystem::path& actual, double bound);
void expect_close_rows(const std::vector<MetricsRow>& expected, const std::vector<MetricsRow>& actual, double bound);

// Every tensor of `array` in two checkpoints: norm of the difference over the norm at most `bound`. Returns the largest.
double expect_close_tensors(const std::filesystem::path& expected, const std::filesystem::path& actual, const std::string& array, double bound);

// Every tensor of every array of both, bit for bit. `array`: only that one.
void expect_equal_tensors(const std::filesystem::path& expected, const std::filesystem::path& actual, const std::string& array = "");

}  // namespace drover::testing
