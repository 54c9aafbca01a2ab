#include "trainer/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>

#include "data/kept_tokenizer.h"
#include "trainer/begun.h"

namespace drover {
namespace {

std::vector<int32_t> bytes_of_tokens(const TokenDataset& data, const Config& config) {
  const auto tokenizer = kept_tokenizer(data.tokenizer(), data.tokenizer_hash(), config.data.validation);
  std::vector<int32_t> bytes;
  if (tokenizer && tokenizer->ranges().empty())
    for (int64_t id = 0; id < config.model.vocab; ++id)
      bytes.push_back(id < tokenizer->vocab() ? tokenizer->text_bytes(static_cast<int32_t>(id)) : 0);
  return bytes;
}

}  // namespace

std::string describe(const ValidationResult& result) {
  return fmt::format("validation loss {:.4f}{} ({:.0f} tokens)", result.loss,
                     result.bits_per_byte ? fmt::format(", {:.4f} bits a byte", *result.bits_per_byte) : "", result.tokens);
}

Validation::Validation(const Config& config, const Mesh& mesh, Communicator& world, int rank, Engine& engine,
                       const std::vector<LossWeight>& loss_weights)
    : config_(config), world_(world), engine_(engine), data_(config.data.validation, config.train.sequence, config.model.vocab),
      options_(loader_options(config, mesh, rank, loss_weights, false)), bytes_of_token_(bytes_of_tokens(data_, config)),
      counts_(mesh.coordinate(rank, Axis::tp) == 0 && mesh.coordinate(rank, Axis::pp) == 0) {}

std::optional<ValidationResult> Validation::run(const WithData& with_data) {
  loader_ = std::make_unique<Loader>(data_, options_, engine_.validation_buffers());
  const int64_t batch = config_.train.global_batch, all = (data_.samples() + batch - 1) / batch;
  const int64_t count = config_.train.validation_batches > 0 ? std::min(all, config_.train.validation_batches) : all;
  double loss = 0, tokens = 0, bytes = 0, mine = 0;
  for (int64_t i = 0; i < count; ++i) {
    double of_batch = 0;
    const EvaluationResult result = with_data(*loader_, i * batch, [&](const auto& batches, const StepRequest& request) {
      of_batch = counts_ ? text_bytes(batches) : 0;
      return engine_.evaluate(batches, request);
    });
    if (result.stop) return std::nullopt;
    loss += result.loss_sum;
    tokens += result.weight_sum;
    mine += of_batch;
  }
  for (const std::string& text : world_.gather_text(fmt::format("{}", mine))) bytes += std::stod(text);
  ValidationResult result{.loss = loss / tokens, .bits_per_byte = {}, .tokens = tokens};
  if (bytes > 0) result.bits_per_byte = loss / std::numbers::ln2 / bytes;
  return result;
}

// Of the targets that count.
double Validation::text_bytes(const std::vector<Batch>& batches) const {
  int64_t bytes = 0;
  if (!bytes_of_token_.empty())
    for (const Batch& batch : batches) {
      const auto* target = batch.target.as<int32_t>();
      const auto* weight = batch.weight.as<float>();
      for (int64_t i = 0; i < batch.target.count(); ++i)
        if (weight[i] != 0) bytes += bytes_of_token_[static_cast<size_t>(target[i])];
    }
  return static_cast<double>(bytes);
}

}  // namespace drover
