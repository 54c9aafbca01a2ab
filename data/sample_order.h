// Which tokens sample i of a run is: pure arithmetic over sources, weights and phases, without files. docs/decisions/0004-mixtures.md says why.
//
// A source of T tokens is cut into N = (T - 1) / L blocks of L tokens, L the longest sequence in which it is read; where it is packed and read
// in several, a window of that. In its epoch e they come in the order permutation(seed, e, N, .). A phase of sequence S draws from its sources
// in units of U tokens, U the least common multiple of their L: each draw is U / S samples, which go on in one source where it stood. Draws
// come in blocks of 4096 (where a source is read by windows of W samples, of 4096 / W rounded up to a power of two) with counts by source that
// follow the weights; the samples of such a block are shuffled. One source with L = S is not: its order is permutation(seed, i / N)(i mod N).
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "configs/config.h"

namespace drover {

// Shares add up to it; exact sums of them are what orders are made of.
inline constexpr int64_t kAllShares = int64_t{1} << 32;
inline constexpr int64_t kBlockDraws = 4096;
inline constexpr int64_t kNoEnd = std::numeric_limits<int64_t>::max() / 2;

struct OrderSource {
  std::string name;
  uint64_t seed = 0;
  int64_t tokens = 0, block = 0;  // T and L; L is 0 where no phase reads it
  bool operator==(const OrderSource&) const = default;
};

struct OrderPhase {
  int64_t end = kNoEnd;         // the first sample of the next phase
  int64_t sequence = 0;         // S
  std::vector<int64_t> shares;  // by source, of kAllShares
  bool operator==(const OrderPhase&) const = default;
};

struct SampleRange {
  int64_t begin = 0, end = 0;
  bool operator==(const SampleRange&) const = default;
};

struct OrderSpec {
  uint64_t seed = 0;
  std::vector<OrderSource> sources;  // by name
  std::vector<OrderPhase> phases;
  std::vector<SampleRange> skip;  // ascending, apart
  int64_t window = 0,
          pieces = 0;  // samples of a window that are packed, and the most pieces of one (data/packing.h); 0: contiguous
  bool operator==(const OrderSpec&) const = default;
};

bool is_sound(const OrderSpec& spec);  // one that was read from a file: an order can be made of it

// Of a validated configuration; `tokens`: of its sources, by name.
OrderSpec order_spec(const Config& config, const std::vector<int64_t>& tokens);

class SampleOrder {
 public:
  explicit SampleOrder(OrderSpec spec);
  const OrderSpec& spec() const { return spec_; }

  struct Sample {
    int phase = 0, source = 0;
    int64_t epoch = 0;     // of the source
    int64_t token = 0;     // the first in the source
    int64_t sequence = 0;  // tokens that it trains on; it reads one more
  };
  Sample at(int64_t i) const;  // O(sources + log phases)
  int phase_of(int64_t i) const;
  int64_t begin_of(int phase) const { return phases_[static_cast<size_t>(phase)].begin; }
  int64_t block_samples(int phase) const;  // of a block of draws, a phase's last one may have fewer
  int64_t block_end(int64_t i) const;      // of the block of draws that sample i lies in: the first sample after it
  bool shuffles(int phase) const;          // false: one source in its own order
  std::vector<int64_t> consumed(
      int64_t samples) const;  // tokens of each source in the first so many samples; reads a block of draws through

  // The n-th sample from `from` on that is not skipped, n = 0 the first.
  int64_t nth(int64_t from, int64_t n) const;
  // A step reads the next `batch` samples that are not skipped, fewer where a phase of another sequence begins. What is consumed after it.
  int64_t after_step(int64_t consumed, int64_t batch) const;
  int64_t after_steps(int64_t consumed, int64_t steps, int64_t batch) const;  // O(phases * ranges), where it would be after so many
  int64_t sequence_at(int64_t i) const { return spec_.phases[static_cast<size_t>(phase_of(i))].sequence; }
  int64_t sequence_end(int64_t i) const;                     // the first sample after i of another sequence, or kNoEnd
  int64_t trained_tokens(int64_t begin, int64_t end) const;  // of the samples [begin, end) without the skipped ones

 private:
  struct Phase {
    int64_t begin = 0, draws = 0;  // draws: of the whole phase
    int64_t block_draws = kBlockDraws;
    int64_t parts = 1;  // samples of a draw
    uint64_t seed = 0;
    bool shuffled = true;
    std::vector<int64_t> bounds;  // sums of shares, one more than sources
    std::vector<int64_t> starts;  // tokens of each source drawn before the phase
  };
  struct Block {
    int64_t index = 0, draws = 0, begin = 0;  // begin: its first sample, counted in the phase
  };
  static Block block_of(const Phase& phase, int64_t sample_of_phase);
  static int64_t shuffled(const Phase& phase, const Block& block, int64_t place);
  Phase make_phase(const OrderPhase& spec, int64_t begin, int64_t index, std::vector<int64_t> starts) const;
  size_t source_of(const Phase& phase, const Block& block, int64_t draw, int64_t& rank) const;

  OrderSpec spec_;
  std::vector<Phase> phases_;
};

// That a run of train.steps trains on.
int64_t tokens_of_run(const Config& config);

// Why a run that has consumed so many samples of the order `before` cannot go on with `now`, a line each with what is valid; none: it can.
std::vector<std::string> changed_past(const OrderSpec& before, const OrderSpec& now, int64_t consumed);

}  // namespace drover
