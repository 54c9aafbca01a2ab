// The training data of a run: its sources, opened, and the order in which their samples come.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/sample_order.h"

namespace drover {

std::string key_of_source(const Config& config, const std::string& name);  // that a message about it names

class Mixture {
 public:
  // Opens data.train or data.sources. Throws Error(data) with what is wrong with each of them; sources of two tokenizers are refused.
  explicit Mixture(const Config& config);

  const SampleOrder& order() const { return order_; }
  const TokenDataset& source(int index) const { return sources_[static_cast<size_t>(index)]; }  // in the order of the names
  int64_t tokens() const;                                                                       // of all sources
  std::string tokenizer() const { return sources_.front().tokenizer(); }
  uint64_t tokenizer_hash() const { return sources_.front().tokenizer_hash(); }
  uint64_t hash() const { return hash_; }  // of names and shards of all sources; of data.train, its shards' alone
  std::string order_text() const;          // sources and parameters of the order, for comparing ranks

  // Row `row` of `batch` from sample `sample` of the run, as TokenDataset::read does.
  void read(int64_t sample, bool document_mask, const Batch& batch, int64_t row,
            int64_t most_documents = std::numeric_limits<int64_t>::max()) const;

  // Epochs of each source in the first `samples` of the run.
  std::vector<double> epochs(int64_t samples) const;

 private:
  std::vector<TokenDataset> sources_;
  SampleOrder order_;
  uint64_t hash_ = 0;
};

// What a run of train.steps reads: a line a phase, with shares and epochs, and one of all; of one source in one phase, one line.
std::string mixture_table(const Config& config, const Mixture& mixture);

// The share of documents that are cut, packed beside contiguous, in a few windows of each source that is read; "" without data.document_mask.
std::string packing_table(const Config& config, const Mixture& mixture);

// Throws Error(config) when the run would read a source more often than its max_epochs: "web 0.7 -> 3.1 epochs (at most 2), code 0.3 ->
// 0.4 epochs".
void require_epochs(const Config& config, const Mixture& mixture);

}  // namespace drover
