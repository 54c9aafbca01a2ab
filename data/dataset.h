// Token shards as one sequence of tokens, cut into samples.
//
// Sample i of N has stride S and reads tokens [i S, i S + S + 1): N = floor((tokens - 1) / S). Opening is O(number of shards): headers
// and document ends are not read through. A sample may span shards.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/packing.h"
#include "data/tokenizer.h"

namespace drover {

class TokenDataset {
 public:
  // `directories`: what `drover prepare` made, each with its *.tokens. Throws Error(data) naming file, field and remedy: missing, no
  // shards, truncated, wrong magic or version, tokenizers that differ, vocabulary larger than `vocab`.
  TokenDataset(const std::vector<std::string>& directories, int64_t sequence, int64_t vocab);
  ~TokenDataset();
  TokenDataset(TokenDataset&&) noexcept;

  int64_t samples() const;
  int64_t tokens() const;
  std::string tokenizer() const;  // e.g. "bytes"
  uint64_t tokenizer_hash() const;
  uint64_t hash() const;  // of all shard headers: compared across ranks and on resume

  // Writes row `row` of `batch` from sample `index`. With the mask, what follows the last of `most_documents` documents belongs to it with weight 0.
  // Throws Error(data) naming shard and offset for a token >= vocab.
  void read(int64_t index, bool document_mask, const Batch& batch, int64_t row,
            int64_t most_documents = std::numeric_limits<int64_t>::max()) const;
  // The same of the sample of any length that begins with this token, within the samples of the constructor's length.
  void read_at(int64_t token, int64_t sequence, bool document_mask, const Batch& batch, int64_t row,
               int64_t most_documents = std::numeric_limits<int64_t>::max()) const;

  // Windows of samples, packed: window n is samples [n window, (n + 1) window) of `sequence` tokens; the last may have fewer.
  struct Windows {
    int64_t sequence = 0, window = 0, pieces = 0;      // a divisor of the constructor's sequence; samples; the most of a sample
    auto operator<=>(const Windows&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 takes its 0 for a pointer
  };
  // The same of packed sample `index`, with the mask. Each piece is as a document of its own; but the target of its last token is the next one
  // in the data, of weight 1, where its document goes on. Pieces beyond the most belong to the last one, with weight 0.
  void read_packed(int64_t index, const Windows& windows, const Batch& batch, int64_t row) const;
  // How many documents of at most so many windows, evenly spaced, are cut.
  CutCount count_cuts(const Windows& windows, int64_t most_windows) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The i-th sample of a run over N samples is permutation(seed, i / N)(i mod N): a pure function, nothing to save but i.
int64_t sample_at(int64_t seed, int64_t i, int64_t samples);

// Targets of a range of ids count so much: data.loss_weights.
struct LossWeight {
  VocabularyRange range;
  float weight = 1;
};
// Of what data.loss_weights names. Throws Error(config) for a range that the tokenizer kept beside the data does not have.
std::vector<LossWeight> loss_weights_of(const DataConfig& config, const std::string& tokenizer, uint64_t hash);

class Mixture;

// The micro-batches of one data-parallel rank, prefetched by a thread of its own. Within a step that starts at sample `consumed`,
// data-parallel rank r takes slots [consumed + r B / dp, consumed + (r + 1) B / dp), B the global batch, in order.
class Loader {
 public:
  struct Options {
    int64_t global_batch = 0, micro_batch = 0, sequence = 0, seed = 0;
    int dp_rank = 0, dp_size = 1;
    bool document_mask = true;
    int64_t max_documents = std::numeric_limits<int64_t>::max();  // of a sample, with the mask
    std::vector<LossWeight> loss_weights = {};
    bool shuffle = true;  // false: samples in order (validation); slots past the end have weight 0 and read sample 0
  };
  // `buffers`: the planned memory: all micro-batches of one rank and step, times two (one step is read while the other runs).
  Loader(const TokenDataset& dataset, const Options& options, std::vector<Batch> buffers);
  // Of a mixture, in its order: skipped samples take no slot, and slots where samples of another length than options.sequence come have weight
  // 0. Neither `seed` nor `shuffle` counts.
  Loader(const Mixture& mixture, const Options& options, std::vector<Batch> buffers);
  ~Loader();  // stops the thread: waits for a read that runs

  // Waits for the batches of the step at `consumed`, for `seconds` at most; false when they have not come by then.
  bool wait(int64_t consumed, double seconds);
  // The step's micro-batches, in order; they stay valid until the next call. Waits as long as it takes; rethrows the read's error.
  std::vector<Batch> next(int64_t consumed);
  // Those of the step before (before the first: buffers as they were given, zero in planned memory): something valid to compute a step
  // with that is thrown away, while the next have not come.
  std::vector<Batch> stale() const;
  bool reading() const;  // the thread is in a read, which may never end

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace drover
