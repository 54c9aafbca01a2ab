#include "trainer/metrics.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "trainer/json_lines.h"

namespace drover {
namespace {

bool is_row(const nlohmann::json& object) { return object.contains("step") && object["step"].is_number_integer(); }

File open_after(const std::filesystem::path& path, int64_t last_step) {
  std::string kept;
  for_each_json(path, [&](const std::string& line, const nlohmann::json& object) {
    if (is_row(object) && object["step"].get<int64_t>() <= last_step) kept += line + "\n";
  });
  if (kept.empty() || kept.size() != std::filesystem::file_size(path)) write_durably(path, kept);
  return open_append(path);
}

}  // namespace

bool has_validation(const std::filesystem::path& path, int64_t step) {
  bool found = false;
  for_each_json(path, [&](const std::string&, const nlohmann::json& object) {
    found = found || (is_row(object) && object["step"].get<int64_t>() == step && object.contains("validation_loss"));
  });
  return found;
}

Metrics::Metrics(const std::filesystem::path& path, int64_t last_step)
    : path_(path), file_(open_after(path, last_step)), events_(path.parent_path(), last_step) {}

void Metrics::step(int64_t step, const StepResult& result, int64_t tokens, double seconds, double tokens_per_second,
                   double data_share) {
  append_line(file_, path_,
              fmt::format("{{\"step\": {}, \"loss\": {}, \"grad_norm\": {}, \"lr\": {}, \"tokens\": {}, \"tokens_per_second\": {}, "
                          "\"seconds\": {}, \"data_share\": {}{}}}",
                          step, json_number(result.loss), json_number(result.grad_norm), json_number(result.lr), tokens,
                          json_number(tokens_per_second), json_number(seconds), json_number(data_share),
                          result.skipped ? ", \"skipped\": true" : ""));
  const Scalar scalars[] = {{"loss", result.loss}, {"grad_norm", result.grad_norm},
                            {"lr", result.lr},     {"tokens_per_second", tokens_per_second},
                            {"seconds", seconds},  {"data_share", data_share}};
  events_.add(step, scalars);
}

void Metrics::validation(int64_t step, const ValidationResult& result) {
  std::string row = fmt::format("{{\"step\": {}, \"validation_loss\": {}", step, json_number(result.loss));
  std::vector<Scalar> scalars{{"validation_loss", result.loss}};
  if (result.bits_per_byte) {
    row += fmt::format(", \"bits_per_byte\": {}", json_number(*result.bits_per_byte));
    scalars.push_back({"bits_per_byte", *result.bits_per_byte});
  }
  append_line(file_, path_, row + "}");
  events_.add(step, scalars);
}

void Metrics::sync() {
  file_.sync();
  events_.sync();
}

}  // namespace drover
