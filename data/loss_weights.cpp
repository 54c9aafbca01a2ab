#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "data/dataset.h"
#include "data/kept_tokenizer.h"
#include "kernels/base/error.h"

namespace drover {

std::vector<LossWeight> loss_weights_of(const DataConfig& config, const std::string& tokenizer, uint64_t hash) {
  std::vector<LossWeight> weights;
  if (config.loss_weights.empty()) return weights;
  const auto kept = kept_tokenizer(tokenizer, hash, source_directories(config));
  if (!kept)
    throw Error(ExitCode::config,
                fmt::format("data.loss_weights needs the file of tokenizer {} beside the data, which says what a range is; "
                            "`drover prepare` keeps it there",
                            tokenizer));
  for (const auto& [name, weight] : config.loss_weights) {
    const auto& ranges = kept->ranges();
    const auto found = std::find_if(ranges.begin(), ranges.end(), [&](const auto& range) { return range.name == name; });
    if (found == ranges.end()) {
      std::vector<std::string> names;
      for (const auto& range : ranges) names.push_back(range.name);
      throw Error(ExitCode::config, fmt::format("data.loss_weights.{}: tokenizer {} has no range of that name; it has {}", name,
                                                tokenizer, names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
    }
    weights.push_back({*found, static_cast<float>(weight)});
  }
  return weights;
}

}  // namespace drover
