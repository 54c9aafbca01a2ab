#include "trainer/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace drover {
namespace {

// JSON has no NaN and no infinity.
std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null"; }

template <class Body> void for_each_row(const std::string& text, Body&& body) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) return;  // torn
    const std::string row = text.substr(begin, end - begin);
    begin = end + 1;
    const auto json = nlohmann::json::parse(row, nullptr, false);
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer()) body(row, json);
  }
}

File open_append(const std::filesystem::path& path, int64_t last_step) {
  const std::string before = std::filesystem::exists(path) ? read_text(path) : "";
  const std::string kept = keep_rows(before, last_step);
  if (kept != before || before.empty()) write_durably(path, kept);
  const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) throw Error(ExitCode::storage, fmt::format("cannot append to {}: {}", path.string(), std::strerror(errno)));
  return File::adopt(descriptor, path);
}

}  // namespace

std::string keep_rows(const std::string& text, int64_t last_step) {
  std::string kept;
  for_each_row(text, [&](const std::string& row, const nlohmann::json& json) {
    if (json["step"].get<int64_t>() <= last_step) kept += row + "\n";
  });
  return kept;
}

bool has_validation(const std::filesystem::path& path, int64_t step) {
  bool found = false;
  if (std::filesystem::exists(path))
    for_each_row(read_text(path), [&](const std::string&, const nlohmann::json& json) {
      found = found || (json["step"].get<int64_t>() == step && json.contains("validation_loss"));
    });
  return found;
}

Metrics::Metrics(const std::filesystem::path& path, int64_t last_step) : file_(open_append(path, last_step)) {}

void Metrics::append(const std::string& row) {
  const ssize_t written = write(file_.descriptor(), row.data(), row.size());
  if (written != static_cast<ssize_t>(row.size()))
    throw Error(ExitCode::storage, fmt::format("cannot write metrics.jsonl: {}", std::strerror(written < 0 ? errno : ENOSPC)));
}

void Metrics::step(int64_t step, const StepResult& result, int64_t tokens, double seconds, double tokens_per_second) {
  append(
      fmt::format("{{\"step\": {}, \"loss\": {}, \"grad_norm\": {}, \"lr\": {}, \"tokens\": {}, \"tokens_per_second\": {}, "
                  "\"seconds\": {}{}}}\n",
                  step, number(result.loss), number(result.grad_norm), number(result.lr), tokens, number(tokens_per_second),
                  number(seconds), result.skipped ? ", \"skipped\": true" : ""));
}

void Metrics::validation(int64_t step, double loss) {
  append(fmt::format("{{\"step\": {}, \"validation_loss\": {}}}\n", step, number(loss)));
}

}  // namespace drover
