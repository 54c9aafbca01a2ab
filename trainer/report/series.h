// What metrics.jsonl holds, as columns; and long columns made short for a picture.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace drover::report {

// Values that were not finite (null in the file) are NaN.
struct Metrics {
  std::vector<int64_t> step, tokens;
  std::vector<double> loss, grad_norm, lr, tokens_per_second, seconds;
  std::vector<int64_t> skipped;  // steps
  std::vector<int64_t> validation_step;
  std::vector<double> validation_loss, bits_per_byte;  // NaN where no text is known
  int64_t damaged = 0;                                 // lines that hold no row
};
Metrics read_metrics(const std::filesystem::path& run_directory);

// A stretch of steps: mean, and the range of what was finite.
struct Bucket {
  int64_t first = 0, last = 0;  // steps
  double mean = 0, low = 0, high = 0;
};
// At most `most` buckets of equally many steps each, one a step where they fit; stretches without a finite value are left out.
std::vector<Bucket> shortened(const std::vector<int64_t>& step, const std::vector<double>& value, int64_t most);

double median(std::vector<double> values);  // of the finite ones; NaN when there is none

}  // namespace drover::report
