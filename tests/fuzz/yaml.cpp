// The YAML layer. Input: the text of a configuration file; after a zero byte, overrides as for --set, a zero byte after each.
#include "configs/validate.h"
#include "tests/fuzz/fuzz.h"

namespace drover::fuzz {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\0', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// What was read without a complaint is written and read again to the same.
void expect_round_trip(const Config& config) {
  const std::string yaml = to_yaml(config);
  const LoadedConfig again = load_config_text(yaml, "again.yaml", {});
  require(again.violations.empty(), "what was written cannot be read: " + yaml);
  require(diff(config, again.config).empty() && to_yaml(again.config) == yaml, "what was written reads as something else: " + yaml);
}

void run(const std::string& input) {
  std::vector<std::string> overrides = split(input);
  const std::string text = overrides.front();
  overrides.erase(overrides.begin());
  LoadedConfig loaded = load_config_text(text, "fuzz.yaml", overrides);
  for (const Violation& violation : loaded.violations)
    require(!violation.where.empty() && !violation.message.empty(), "a violation without a place or a word");
  if (loaded.violations.empty()) expect_round_trip(loaded.config);
  for (const int64_t ranks : {int64_t{1}, int64_t{6}, int64_t{16384}}) {
    LoadedConfig resolved = loaded;
    const std::vector<Violation> violations = resolve_and_validate(resolved, ranks);
    if (!violations.empty()) continue;
    const ParallelConfig& p = resolved.config.parallel;
    require(p.dp * p.tp * p.pp * p.cp == ranks, "a layout of another number of ranks");
    require(parameter_count(resolved.config.model) > 0, "a model without parameters");
    ++accepted_inputs;
    expect_round_trip(resolved.config);
  }
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  drover::fuzz::run({data, data + size});
  return 0;
}
