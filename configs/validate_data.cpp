#include "configs/validate_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace drover {
namespace {

constexpr double kLeastShare = 1e-6;  // far above what shares are rounded to (data/sample_order.h)
constexpr int64_t kMostParts = 256;   // samples of one draw: a block of draws is read through now and then

class DataRules {
 public:
  DataRules(const LoadedConfig& loaded, const std::function<void(const std::string&, const std::string&)>& violate)
      : loaded_(loaded), c_(loaded.config), violate_(violate) {}

  void run() {
    origin();
    if (!known("data.train") || !known("data.sources")) return;
    for (const auto& [name, source] : sources_of(c_.data)) names_.push_back(name);
    if (!known("data.phases")) return;
    ends();
    for (size_t i = 0; i < std::max<size_t>(1, c_.data.phases.size()); ++i) weights(i);
    if (known("train.sequence")) sequences();
  }
  void packing() {
    if (known("data.packing") && known("data.document_mask") && c_.data.packing == Packing::best_fit && !c_.data.document_mask)
      violate_(
          "data.packing",
          "data.packing best_fit needs data.document_mask true: documents from different places lie side by side, and would be "
          "read as one; or contiguous");
  }
  void skips() {
    if (!known("data.skip")) return;
    for (size_t i = 0; i < c_.data.skip.size(); ++i) {
      const SkipConfig& range = c_.data.skip[i];
      if (range.from_sample >= range.to_sample)
        violate_(fmt::format("data.skip.{}", i + 1),
                 fmt::format("data.skip {}: from_sample {} must be below to_sample {}, the first sample that is trained on again",
                             i + 1, range.from_sample, range.to_sample));
    }
  }

 private:
  // The key and all keys in it could be read.
  bool known(const std::string& key) const {
    return std::none_of(loaded_.unread.begin(), loaded_.unread.end(),
                        [&](const std::string& unread) { return unread == key || unread.starts_with(key + "."); });
  }
  static std::string phase_key(size_t index, const char* key) { return fmt::format("data.phases.{}.{}", index + 1, key); }

  void origin() {
    const bool sources = !c_.data.sources.empty();
    if (known("data.train") && known("data.sources")) {
      if (c_.data.train.empty() && !sources)
        violate_("data.train", "data.train is missing: a directory that `drover prepare` made");
      if (!c_.data.train.empty() && sources)
        violate_("data.train",
                 "data.train and data.sources say both what to train on: keep one; data.train is short for one source");
    }
    for (const auto& [name, source] : c_.data.sources)
      if (source.path.empty() && known("data.sources"))
        violate_("data.sources." + name,
                 fmt::format("data.sources.{0}.path is missing: a directory that `drover prepare` made", name));
  }

  void ends() {
    const std::vector<PhaseConfig>& phases = c_.data.phases;
    for (size_t i = 0; i < phases.size(); ++i) {
      const int64_t end = phases[i].until_tokens, before = i == 0 ? 0 : phases[i - 1].until_tokens;
      const std::string key = phase_key(i, "until_tokens");
      if (i + 1 == phases.size()) {
        if (end != 0)
          violate_(key, fmt::format("{} {}: the last phase goes on to the end of the run; leave it out, or add a phase after it",
                                    key, end));
      } else if (end <= before) {
        violate_(key, end == 0 ? fmt::format("{} is missing: only the last phase has no end", key)
                               : fmt::format("{} {} must be above that of the phase before, {}", key, end, before));
      }
    }
  }

  void weights(size_t index) {
    const bool own = index < c_.data.phases.size() && !c_.data.phases[index].weights.empty();
    if (!own && index > 0) return;  // the sources' own, judged with the first phase
    const std::string key = own ? phase_key(index, "weights") : c_.data.sources.empty() ? "data.train" : "data.sources";
    std::map<std::string, double> weights;
    if (own)
      weights = c_.data.phases[index].weights;
    else
      for (const auto& [name, source] : sources_of(c_.data)) weights[name] = source.weight;
    double sum = 0;
    for (const auto& [name, weight] : weights) {
      sum += weight;
      if (std::find(names_.begin(), names_.end(), name) == names_.end())
        violate_(key, fmt::format("{}: no source is called {}; there {} {}", key, name, names_.size() == 1 ? "is" : "are",
                                  fmt::join(names_, ", ")));
    }
    if (sum <= 0) return violate_(key, fmt::format("{}: all weights are 0: at least one source must be read", key));
    for (const auto& [name, weight] : weights)
      if (weight > 0 && weight / sum < kLeastShare)
        violate_(key,
                 fmt::format("{}: {} has a share of {:.1e}; at least {:.0e}, or weight 0", key, name, weight / sum, kLeastShare));
  }

  // Each source is cut into blocks of its longest sequence, which shorter ones must divide.
  void sequences() {
    std::map<std::string, int64_t> blocks;
    const std::vector<PhaseConfig> phases = phases_of(c_);
    for (const PhaseConfig& phase : phases)
      for (const auto& [name, weight] : phase.weights)
        if (weight > 0) blocks[name] = std::max(blocks[name], phase.sequence);
    for (size_t i = 0; i < phases.size(); ++i) divides_blocks(phase_key(i, "sequence"), phases[i], blocks);
  }

  void divides_blocks(const std::string& key, const PhaseConfig& phase, const std::map<std::string, int64_t>& blocks) {
    int64_t unit = phase.sequence;  // the least common multiple of the blocks
    for (const auto& [name, weight] : phase.weights) {
      if (weight <= 0) continue;
      const int64_t block = blocks.at(name);
      if (block % phase.sequence != 0)
        return violate_(key,
                        fmt::format("{} {} does not divide {}, the longest sequence in which {} is read and so the length of the "
                                    "blocks that its order is of; nearest: {}",
                                    key, phase.sequence, block, name, near_divisors(block, phase.sequence)));
      const int64_t factor = block / std::gcd(unit, block);
      if (factor > kMostParts || unit * factor / phase.sequence > kMostParts)
        return violate_(
            key, fmt::format("{} {}: its sources are drawn in the least common multiple of their longest sequences, which is "
                             "more than {} samples of this phase; a longer one",
                             key, phase.sequence, kMostParts));
      unit *= factor;
    }
  }

  static std::string near_divisors(int64_t number, int64_t of) {
    int64_t below = 1, above = number;
    for (int64_t d = 1; d * d <= number; ++d) {
      if (number % d != 0) continue;
      for (const int64_t divisor : {d, number / d}) {
        if (divisor < of) below = std::max(below, divisor);
        if (divisor > of) above = std::min(above, divisor);
      }
    }
    return fmt::format("{} or {}", below, above);
  }

  const LoadedConfig& loaded_;
  const Config& c_;
  const std::function<void(const std::string&, const std::string&)>& violate_;
  std::vector<std::string> names_;  // of the sources
};

}  // namespace

void check_data(const LoadedConfig& loaded, const std::function<void(const std::string&, const std::string&)>& violate) {
  DataRules rules(loaded, violate);
  rules.run();
  rules.packing();
  rules.skips();
}

}  // namespace drover
