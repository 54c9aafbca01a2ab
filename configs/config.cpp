#include "configs/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace drover {
namespace {

int64_t block_matmul_parameters(const ModelConfig& m) {
  return m.hidden * (m.heads + 2 * m.kv_heads) * m.head_dim + m.heads * m.head_dim * m.hidden + 3 * m.hidden * m.ffn;
}

}  // namespace

std::map<std::string, SourceConfig> sources_of(const DataConfig& data) {
  if (!data.sources.empty()) return data.sources;
  return {{"train", {.path = data.train}}};
}

std::vector<std::string> source_directories(const DataConfig& data) {
  std::vector<std::string> directories;
  for (const auto& [name, source] : sources_of(data)) directories.insert(directories.end(), source.path.begin(), source.path.end());
  return directories;
}

std::vector<PhaseConfig> phases_of(const Config& config) {
  std::vector<PhaseConfig> phases = config.data.phases;
  if (phases.empty()) phases.emplace_back();
  for (PhaseConfig& phase : phases) {
    if (phase.sequence == 0) phase.sequence = config.train.sequence;
    if (!phase.weights.empty()) continue;
    for (const auto& [name, source] : sources_of(config.data)) phase.weights[name] = source.weight;
  }
  return phases;
}

int64_t longest_sequence(const Config& config) {
  int64_t longest = 0;
  for (const PhaseConfig& phase : phases_of(config)) longest = std::max(longest, phase.sequence);
  return longest;
}

Config at_sequence(const Config& config, int64_t sequence) {
  Config at = config;
  at.train.sequence = sequence;
  return at;
}

int64_t parameter_count(const ModelConfig& m) {
  const int64_t bias = m.qkv_bias ? (m.heads + 2 * m.kv_heads) * m.head_dim : 0;
  const int64_t vocabulary = m.vocab * m.hidden * (m.tied_embeddings ? 1 : 2);
  return m.layers * (block_matmul_parameters(m) + bias + 2 * m.hidden) + vocabulary + m.hidden;
}

double flops_per_token(const ModelConfig& m, int64_t sequence) {
  const double matmul = static_cast<double>(m.layers * block_matmul_parameters(m) + m.hidden * m.vocab);
  return 6 * matmul + 6 * static_cast<double>(m.layers * m.heads * m.head_dim) * static_cast<double>(sequence);
}

double learning_rate(const OptimizerConfig& o, int64_t steps, int64_t step) {
  if (step <= o.warmup_steps) return o.lr * static_cast<double>(step) / static_cast<double>(o.warmup_steps);
  const double low = o.lr * o.min_lr_ratio;
  switch (o.schedule) {
    case LrSchedule::constant: return o.lr;
    case LrSchedule::cosine: {
      const double progress =
          static_cast<double>(step - o.warmup_steps) / static_cast<double>(std::max<int64_t>(1, steps - o.warmup_steps));
      return low + (o.lr - low) * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, progress)));
    }
    case LrSchedule::wsd: {
      const double decay = std::max(1.0, o.decay_fraction * static_cast<double>(steps));
      const double left = static_cast<double>(std::max<int64_t>(0, steps - step));
      return left >= decay ? o.lr : low + (o.lr - low) * left / decay;
    }
  }
  return o.lr;
}

}  // namespace drover
