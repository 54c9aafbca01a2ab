#include "data/sample_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/philox.h"

namespace drover {
namespace {

int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Draw q of block b has the value q Q + reverse(b), of kAllShares = M Q, M draws a block: a source has the draws whose values lie in its share.
// With the bits of b reversed, any run of blocks has values spread evenly (van der Corput 1935), so that counts stay near the weights, and none
// is negative.
class Draws {
 public:
  explicit Draws(int64_t of_a_block) : m_(of_a_block), q_(kAllShares / m_), bits_(std::countr_zero(static_cast<uint64_t>(q_))) {
    DROVER_CHECK(m_ * q_ == kAllShares, "draws of a block");
  }
  // Draws with values below `bound`: of all blocks before this one, and of this one. A block of fewer draws spreads them over the same values.
  int64_t below_before(int64_t bound, int64_t block) const {
    const int64_t low = bound % q_;
    return block * (bound / q_) + block / q_ * low + reversed_below(block % q_, low);
  }
  int64_t below_in(int64_t bound, int64_t block, int64_t draws) const {
    const int64_t first = reversed(block % q_), scaled = draws == m_ ? bound : divided_up(bound * draws, m_);
    return scaled <= first ? 0 : divided_up(scaled - first, q_);
  }

 private:
  int64_t reversed(int64_t value) const {
    int64_t out = 0;
    for (int bit = 0; bit < bits_; ++bit) out |= (value >> bit & 1) << (bits_ - 1 - bit);
    return out;
  }
  // How many of b = 0 to count - 1, count < Q, have reverse(b) below `low`: the numbers below `count`, in runs of powers of two.
  int64_t reversed_below(int64_t count, int64_t low) const {
    int64_t sum = 0, begin = 0;
    for (int bit = bits_ - 1; bit >= 0; --bit) {
      const int64_t run = int64_t{1} << bit, spacing = q_ >> bit;
      if ((count & run) == 0) continue;
      const int64_t first = reversed(begin);
      if (first < low) sum += std::min(run, divided_up(low - first, spacing));
      begin += run;
    }
    return sum;
  }

  int64_t m_, q_;
  int bits_;
};

uint64_t seed_of(uint64_t seed, const char* what, const std::string& which) {
  return xxh3(fmt::format("{} {} {}", seed, what, which));
}

std::vector<SampleRange> joined(const std::vector<SkipConfig>& skip) {
  std::vector<SampleRange> ranges, apart;
  for (const SkipConfig& range : skip) ranges.push_back({range.from_sample, range.to_sample});
  std::sort(ranges.begin(), ranges.end(), [](const SampleRange& a, const SampleRange& b) { return a.begin < b.begin; });
  for (const SampleRange& range : ranges) {
    if (!apart.empty() && range.begin <= apart.back().end)
      apart.back().end = std::max(apart.back().end, range.end);
    else
      apart.push_back(range);
  }
  return apart;
}

std::vector<int64_t> shares_of(const std::map<std::string, double>& weights, const std::vector<OrderSource>& sources) {
  double sum = 0, passed = 0;
  for (const auto& [name, weight] : weights) sum += weight;
  std::vector<int64_t> shares;
  int64_t given = 0;
  for (const OrderSource& source : sources) {
    const auto found = weights.find(source.name);
    const double weight = found == weights.end() ? 0 : found->second;
    passed += weight;
    const int64_t bound = weight > 0 ? std::llround(passed / sum * static_cast<double>(kAllShares)) : given;
    shares.push_back(bound - given);
    given = bound;
  }
  return shares;
}

// In several sequences a packed source is read by windows of the longest, which hold whole windows of the others: then none is left begun.
bool is_read_by_windows(const OrderSpec& spec, size_t source) {
  int64_t sequence = 0;
  for (const OrderPhase& phase : spec.phases) {
    if (phase.shares[source] == 0) continue;
    if (sequence != 0 && sequence != phase.sequence) return spec.window > 0;
    sequence = phase.sequence;
  }
  return false;
}

int64_t unit_of(const std::vector<OrderSource>& sources, const OrderPhase& phase) {
  int64_t unit = phase.sequence;
  for (size_t s = 0; s < sources.size(); ++s)
    if (phase.shares[s] > 0) unit = std::lcm(unit, sources[s].block);
  return unit;
}

int64_t draws_of_a_block(const OrderSpec& spec, const OrderPhase& phase) {
  bool by_windows = false;
  for (size_t s = 0; s < spec.sources.size(); ++s) by_windows = by_windows || (phase.shares[s] > 0 && is_read_by_windows(spec, s));
  if (!by_windows) return kBlockDraws;
  return std::max<int64_t>(1, kBlockDraws / static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(spec.window))));
}

}  // namespace

OrderSpec order_spec(const Config& config, const std::vector<int64_t>& tokens) {
  OrderSpec spec{.seed = static_cast<uint64_t>(config.train.seed)};
  for (const auto& [name, source] : sources_of(config.data))
    spec.sources.push_back({.name = name,
                            .seed = name == "train" ? spec.seed : seed_of(spec.seed, "source", name),
                            .tokens = tokens.at(spec.sources.size())});
  const std::vector<PhaseConfig> phases = phases_of(config);
  for (const PhaseConfig& phase : phases) {
    spec.phases.push_back({.sequence = phase.sequence, .shares = shares_of(phase.weights, spec.sources)});
    for (size_t s = 0; s < spec.sources.size(); ++s)
      if (spec.phases.back().shares[s] > 0) spec.sources[s].block = std::max(spec.sources[s].block, phase.sequence);
  }
  if (config.data.packing == Packing::best_fit) {
    spec.window = config.data.packing_window;
    spec.pieces = config.data.max_documents_per_sample;
  }
  for (size_t s = 0; s < spec.sources.size(); ++s)
    if (is_read_by_windows(spec, s)) spec.sources[s].block *= spec.window;
  int64_t begin = 0, tokens_before = 0;
  for (size_t p = 0; p + 1 < phases.size(); ++p) {
    const int64_t unit = unit_of(spec.sources, spec.phases[p]),
                  draws = std::max<int64_t>(1, divided_up(phases[p].until_tokens - tokens_before, unit));
    tokens_before += draws * unit;
    spec.phases[p].end = begin += draws * unit / phases[p].sequence;
  }
  spec.skip = joined(config.data.skip);
  return spec;
}

int64_t tokens_of_run(const Config& config) {
  const SampleOrder order(order_spec(config, std::vector<int64_t>(sources_of(config.data).size())));
  return order.trained_tokens(0, order.after_steps(0, config.train.steps, config.train.global_batch));
}

bool is_sound(const OrderSpec& spec) {
  constexpr int64_t kMost = int64_t{1} << 53, kMostPacked = int64_t{1} << 20;
  if (spec.window < 0 || spec.window > kMostPacked || spec.pieces < 0 || (spec.window > 0) != (spec.pieces > 0)) return false;
  for (const OrderSource& source : spec.sources)
    if (source.tokens < 2 || source.tokens > kMost || source.block < 0 || source.block > kMost || source.tokens <= source.block)
      return false;
  int64_t begin = 0;
  for (const OrderPhase& phase : spec.phases) {
    if (phase.sequence < 1 || phase.sequence > kMost || phase.shares.size() != spec.sources.size()) return false;
    int64_t sum = 0, unit = phase.sequence;
    for (size_t s = 0; s < phase.shares.size(); ++s) {
      const int64_t share = phase.shares[s], block = spec.sources[s].block;
      if (share < 0 || share > kAllShares - sum) return false;
      sum += share;
      if (share == 0) continue;
      if (block == 0 || block % phase.sequence != 0 || block / std::gcd(unit, block) > kMost / unit) return false;
      unit = std::lcm(unit, block);
    }
    const bool last = &phase == &spec.phases.back();
    const int64_t parts = unit / phase.sequence;
    if (sum != kAllShares || parts > kMost / kBlockDraws || last != (phase.end == kNoEnd)) return false;
    if (!last && (phase.end <= begin || phase.end > kMost || (phase.end - begin) % parts != 0)) return false;
    begin = phase.end;
  }
  return !spec.phases.empty() && std::all_of(spec.skip.begin(), spec.skip.end(), [](const SampleRange& range) {
    return range.begin >= 0 && range.begin < range.end && range.end <= kMost;
  });
}

SampleOrder::SampleOrder(OrderSpec spec) : spec_(std::move(spec)) {
  int64_t begin = 0;
  std::vector<int64_t> starts(spec_.sources.size());
  for (const OrderPhase& each : spec_.phases) {
    phases_.push_back(make_phase(each, begin, static_cast<int64_t>(phases_.size()), starts));
    if (each.end >= kNoEnd) break;
    begin = each.end;
    starts = consumed(begin);
  }
}

SampleOrder::Phase SampleOrder::make_phase(const OrderPhase& spec, int64_t begin, int64_t index,
                                           std::vector<int64_t> starts) const {
  Phase phase{
      .begin = begin, .seed = seed_of(spec_.seed, "phase", std::to_string(index)), .bounds = {0}, .starts = std::move(starts)};
  int read = 0;
  for (const int64_t share : spec.shares) {
    phase.bounds.push_back(phase.bounds.back() + share);
    read += share > 0;
  }
  DROVER_CHECK(phase.bounds.back() == kAllShares, "shares of a phase");
  phase.parts = unit_of(spec_.sources, spec) / spec.sequence;
  phase.draws = (spec.end - begin) / phase.parts;
  phase.block_draws = draws_of_a_block(spec_, spec);
  phase.shuffled = read > 1 || phase.parts > 1;
  return phase;
}

int SampleOrder::phase_of(int64_t i) const {
  const auto after =
      std::upper_bound(phases_.begin(), phases_.end(), i, [](int64_t at, const Phase& phase) { return at < phase.begin; });
  return static_cast<int>(after - phases_.begin()) - 1;
}

int64_t SampleOrder::block_samples(int phase) const {
  const Phase& of = phases_[static_cast<size_t>(phase)];
  return of.block_draws * of.parts;
}
bool SampleOrder::shuffles(int phase) const { return phases_[static_cast<size_t>(phase)].shuffled; }

SampleOrder::Block SampleOrder::block_of(const Phase& phase, int64_t sample_of_phase) {
  const int64_t samples = phase.block_draws * phase.parts, index = sample_of_phase / samples;
  return {index, std::min(phase.block_draws, phase.draws - index * phase.block_draws), index * samples};
}

int64_t SampleOrder::block_end(int64_t i) const {
  const Phase& phase = phases_[static_cast<size_t>(phase_of(i))];
  const Block block = block_of(phase, i - phase.begin);
  return phase.begin + block.begin + block.draws * phase.parts;
}

int64_t SampleOrder::shuffled(const Phase& phase, const Block& block, int64_t place) {
  if (!phase.shuffled) return place;
  return static_cast<int64_t>(permutation(phase.seed, static_cast<uint64_t>(block.index),
                                          static_cast<uint64_t>(block.draws * phase.parts), static_cast<uint64_t>(place)));
}

// Draws of a block lie by source; `rank`: of this one among all of its source in the phase.
size_t SampleOrder::source_of(const Phase& phase, const Block& block, int64_t draw, int64_t& rank) const {
  const Draws draws(phase.block_draws);
  size_t s = 0;
  int64_t begin = 0, end = 0;
  for (; end <= draw; ++s) {
    begin = end;
    end = draws.below_in(phase.bounds[s + 1], block.index, block.draws);
  }
  --s;
  rank = draws.below_before(phase.bounds[s + 1], block.index) - draws.below_before(phase.bounds[s], block.index) + draw - begin;
  return s;
}

SampleOrder::Sample SampleOrder::at(int64_t i) const {
  const int index = phase_of(i);
  const Phase& phase = phases_[static_cast<size_t>(index)];
  const int64_t sequence = spec_.phases[static_cast<size_t>(index)].sequence;
  const Block block = block_of(phase, i - phase.begin);
  const int64_t place = shuffled(phase, block, i - phase.begin - block.begin);
  int64_t rank = 0;
  const size_t s = source_of(phase, block, place / phase.parts, rank);
  const OrderSource& source = spec_.sources[s];
  const int64_t position = phase.starts[s] + (rank * phase.parts + place % phase.parts) * sequence,
                blocks = (source.tokens - 1) / source.block, number = position / source.block;
  const uint64_t chosen = permutation(source.seed, static_cast<uint64_t>(number / blocks), static_cast<uint64_t>(blocks),
                                      static_cast<uint64_t>(number % blocks));
  return {.phase = index,
          .source = static_cast<int>(s),
          .epoch = number / blocks,
          .token = static_cast<int64_t>(chosen) * source.block + position % source.block,
          .sequence = sequence};
}

std::vector<int64_t> SampleOrder::consumed(int64_t samples) const {
  const int index = phase_of(std::max<int64_t>(samples - 1, 0));
  const Phase& phase = phases_[static_cast<size_t>(index)];
  const int64_t sequence = spec_.phases[static_cast<size_t>(index)].sequence, in_phase = samples - phase.begin;
  const Block block = block_of(phase, in_phase);
  std::vector<int64_t> tokens = phase.starts;
  const int64_t all = block.draws * phase.parts, begun = in_phase - block.begin;
  for (size_t s = 0; s < tokens.size(); ++s) {
    const Draws draws(phase.block_draws);
    const auto below = [&](int64_t bound) {
      return draws.below_before(bound, block.index) + (begun == all ? draws.below_in(bound, block.index, block.draws) : 0);
    };
    tokens[s] += (below(phase.bounds[s + 1]) - below(phase.bounds[s])) * phase.parts * sequence;
  }
  for (int64_t place = 0; begun < all && place < begun; ++place) {
    int64_t rank = 0;
    const int64_t drawn = shuffled(phase, block, place);
    tokens[source_of(phase, block, drawn / phase.parts, rank)] += sequence;
  }
  return tokens;
}

int64_t SampleOrder::nth(int64_t from, int64_t n) const {
  for (const SampleRange& range : spec_.skip) {
    if (range.end <= from) continue;
    const int64_t before = std::max<int64_t>(0, range.begin - from);
    if (n < before) break;
    n -= before;
    from = range.end;
  }
  return from + n;
}

int64_t SampleOrder::sequence_end(int64_t i) const {
  size_t p = static_cast<size_t>(phase_of(i));
  const int64_t sequence = spec_.phases[p].sequence;
  while (p + 1 < spec_.phases.size() && spec_.phases[p + 1].sequence == sequence) ++p;
  return spec_.phases[p].end;
}

int64_t SampleOrder::trained_tokens(int64_t begin, int64_t end) const {
  int64_t tokens = 0;
  for (size_t p = 0; p < spec_.phases.size(); ++p) {
    const int64_t from = std::max(begin, phases_[p].begin), to = std::min(end, spec_.phases[p].end);
    int64_t samples = std::max<int64_t>(0, to - from);
    for (const SampleRange& range : spec_.skip)
      samples -= std::max<int64_t>(0, std::min(range.end, to) - std::max(range.begin, from));
    tokens += samples * spec_.phases[p].sequence;
  }
  return tokens;
}

int64_t SampleOrder::after_step(int64_t consumed, int64_t batch) const {
  return std::min(nth(consumed, batch - 1) + 1, sequence_end(nth(consumed, 0)));
}

int64_t SampleOrder::after_steps(int64_t consumed, int64_t steps, int64_t batch) const {
  while (steps > 0) {
    const int64_t first = nth(consumed, 0), end = sequence_end(first);
    int64_t left = end - first;  // not skipped
    for (const SampleRange& range : spec_.skip)
      left -= std::max<int64_t>(0, std::min(range.end, end) - std::max(range.begin, first));
    const int64_t whole = divided_up(left, batch);
    if (whole > steps) return nth(consumed, steps * batch - 1) + 1;
    steps -= whole;
    consumed = end;
  }
  return consumed;
}

}  // namespace drover
