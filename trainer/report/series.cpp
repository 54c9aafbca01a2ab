#include "trainer/report/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "trainer/json_lines.h"

namespace drover::report {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double number(const nlohmann::json& row, const char* key) {
  const auto at = row.find(key);
  return at != row.end() && at->is_number() ? at->get<double>() : kNone;
}

}  // namespace

Metrics read_metrics(const std::filesystem::path& run_directory) {
  Metrics metrics;
  JsonLines lines(run_directory / "metrics.jsonl");
  for (nlohmann::json row; lines.next(row);) {
    const double step = number(row, "step");
    if (std::isnan(step)) {
      ++metrics.damaged;
      continue;
    }
    if (row.contains("validation_loss")) {
      metrics.validation_step.push_back(static_cast<int64_t>(step));
      metrics.validation_loss.push_back(number(row, "validation_loss"));
      metrics.bits_per_byte.push_back(number(row, "bits_per_byte"));
      continue;
    }
    metrics.step.push_back(static_cast<int64_t>(step));
    const double tokens = number(row, "tokens");
    metrics.tokens.push_back(std::isnan(tokens) ? 0 : static_cast<int64_t>(tokens));
    metrics.loss.push_back(number(row, "loss"));
    metrics.grad_norm.push_back(number(row, "grad_norm"));
    metrics.lr.push_back(number(row, "lr"));
    metrics.tokens_per_second.push_back(number(row, "tokens_per_second"));
    metrics.seconds.push_back(number(row, "seconds"));
    if (row.contains("skipped")) metrics.skipped.push_back(static_cast<int64_t>(step));
  }
  metrics.damaged += lines.damaged();
  return metrics;
}

std::vector<Bucket> shortened(const std::vector<int64_t>& step, const std::vector<double>& value, int64_t most) {
  std::vector<Bucket> buckets;
  if (step.empty()) return buckets;
  const int64_t origin = step.front(), width = (step.back() - origin) / most + 1;
  double sum = 0;
  int64_t count = 0, at = -1;
  const auto close = [&] {
    if (count > 0) buckets.back().mean = sum / static_cast<double>(count);
  };
  for (size_t i = 0; i < step.size(); ++i) {
    if (!std::isfinite(value[i])) continue;
    const int64_t place = (step[i] - origin) / width;
    if (place != at) {
      close();
      at = place;
      sum = 0;
      count = 0;
      buckets.push_back({step[i], step[i], 0, value[i], value[i]});
    }
    Bucket& bucket = buckets.back();
    bucket.last = step[i];
    bucket.low = std::min(bucket.low, value[i]);
    bucket.high = std::max(bucket.high, value[i]);
    sum += value[i];
    ++count;
  }
  close();
  return buckets;
}

double median(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return kNone;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace drover::report
