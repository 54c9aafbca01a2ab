// metrics.jsonl: one object a step, one a validation, each written whole by one write() call. Numbers have all their digits.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "kernels/base/files.h"
#include "trainer/engine.h"

namespace drover {

class Metrics {
 public:
  // Opens for appending, after dropping every row of a later step than `last_step` and a torn last line.
  Metrics(const std::filesystem::path& path, int64_t last_step);
  void step(int64_t step, const StepResult& result, int64_t tokens, double seconds, double tokens_per_second);
  void validation(int64_t step, double loss);
  void sync() { file_.sync(); }

 private:
  void append(const std::string& row);
  File file_;
};

// Rows of `text` with step <= last_step, complete lines only.
std::string keep_rows(const std::string& text, int64_t last_step);
bool has_validation(const std::filesystem::path& path, int64_t step);

}  // namespace drover
