// What a run measures, in two forms that hold the same steps: metrics.jsonl, one object a step and one a validation, numbers with all their
// digits; and TensorBoard's event files beside it (trainer/event_file.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "kernels/base/files.h"
#include "trainer/engine.h"
#include "trainer/event_file.h"
#include "trainer/validation.h"

namespace drover {

class Metrics {
 public:
  // Opens for appending, after dropping every row of a later step than `last_step` and a torn last line.
  Metrics(const std::filesystem::path& path, int64_t last_step);
  // `data_share`: of the seconds, spent waiting for data.
  void step(int64_t step, const StepResult& result, int64_t tokens, double seconds, double tokens_per_second, double data_share);
  void validation(int64_t step, const ValidationResult& result);
  void sync();

 private:
  std::filesystem::path path_;
  File file_;
  EventFile events_;
};

bool has_validation(const std::filesystem::path& path, int64_t step);

}  // namespace drover
