// The validation set's loss, over all of it or its first batches (train.validation_batches), by all ranks.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "parallel/world.h"
#include "trainer/engine.h"

namespace drover {

struct ValidationResult {
  double loss = 0;  // nats a token, weighted mean
  std::optional<double>
      bits_per_byte;  // bits a byte of text; none where no tokenizer is kept beside the data, or where it is of more than text
  double tokens = 0;  // that counted
};

std::string describe(const ValidationResult& result);  // "validation loss 1.5852, 2.2870 bits a byte (203264 tokens)"

class Validation {
 public:
  // Opens data.validation. What is passed lives longer.
  Validation(const Config& config, const Mesh& mesh, Communicator& world, int rank, Engine& engine,
             const std::vector<LossWeight>& loss_weights);

  using Evaluate = std::function<EvaluationResult(const std::vector<Batch>&, const StepRequest&)>;
  // Calls evaluate on the batches at a place of the loader, as often as it takes until all ranks have theirs, or one wants to stop.
  using WithData = std::function<EvaluationResult(Loader&, int64_t consumed, const Evaluate&)>;

  // Collective. None when a stop was asked for meanwhile.
  std::optional<ValidationResult> run(const WithData& with_data);
  bool reading() const { return loader_ && loader_->reading(); }

 private:
  double text_bytes(const std::vector<Batch>& batches) const;

  const Config& config_;
  Communicator& world_;
  Engine& engine_;
  TokenDataset data_;
  Loader::Options options_;
  std::vector<int32_t> bytes_of_token_;  // empty where they are not known
  bool counts_ = false;                  // of the ranks that read the same batches, this one counts their bytes
  std::unique_ptr<Loader> loader_;       // of the last one
};

}  // namespace drover
