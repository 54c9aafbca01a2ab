#include <fmt/format.h>

#include "data/dataset.h"
#include "data/kept_tokenizer.h"
#include "data/spans.h"
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
  weights.reserve(config.loss_weights.size());
  for (const auto& [name, weight] : config.loss_weights) {
    const VocabularyRange* range = find_range(kept->ranges(), name);
    if (range == nullptr)
      throw Error(ExitCode::config, fmt::format("data.loss_weights.{}: tokenizer {} has no range of that name; it has {}", name,
                                                tokenizer, names_of(kept->ranges())));
    weights.push_back({*range, static_cast<float>(weight)});
  }
  return weights;
}

}  // namespace drover
