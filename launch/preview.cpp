// The data of a configuration as a run would read it, without one: no MPI, no model.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "data/kept_tokenizer.h"
#include "data/mixture.h"
#include "kernels/base/words.h"
#include "launch/commands.h"
#include "parallel/mesh.h"

namespace drover {
namespace {

// One sample in memory of its own.
class Row {
 public:
  explicit Row(int64_t sequence) : tokens_(static_cast<size_t>(5 * sequence)), sequence_(sequence) {}
  Batch batch() { return {view(0), view(1), view(2), view(3), view(4, DType::f32)}; }

 private:
  TensorView view(int64_t index, DType dtype = DType::i32) {
    return {reinterpret_cast<std::byte*>(tokens_.data() + index * sequence_), dtype, Device{}, {sequence_}};
  }
  std::vector<int32_t> tokens_;
  int64_t sequence_;
};

std::string describe(const Mixture& mixture, const Config& config, int64_t sample, const Tokenizer* tokenizer) {
  const SampleOrder::Sample at = mixture.order().at(sample);
  Row row(at.sequence);
  const Batch batch = row.batch();
  mixture.read(sample, config.data.document_mask, batch, 0, config.data.max_documents_per_sample);
  const std::vector<int32_t> tokens(batch.token.as<int32_t>(), batch.token.as<int32_t>() + at.sequence);
  int64_t documents = 1, counted_targets = 0;
  for (int64_t i = 0; i < at.sequence; ++i) {
    documents += i > 0 && batch.document_begin.as<int32_t>()[i] == i;
    counted_targets += batch.weight.as<float>()[i] != 0;
  }
  const int64_t window = mixture.order().spec().window * at.sequence, first = window == 0 ? at.token : at.token / window * window;
  return fmt::format("sample {}: {}, epoch {}, {} {} to {}; {}, {} of {} targets count\n{}\n", sample,
                     mixture.order().spec().sources[static_cast<size_t>(at.source)].name, at.epoch + 1,
                     window == 0 ? "tokens" : "packed out of tokens", first, first + (window == 0 ? at.sequence : window) - 1,
                     counted(documents, "document"), counted_targets, at.sequence,
                     tokenizer != nullptr ? tokenizer->decode(tokens) : fmt::format("{}", fmt::join(tokens, " ")));
}

}  // namespace

int preview_command(const TrainRequest& request, const PreviewOptions& options) {
  const Config config = resolve_config(request, options.ranks);
  const Mesh mesh(config.parallel);
  if (options.rank >= options.ranks)
    throw Error(ExitCode::config, fmt::format("rank {}: there are {}; --ranks says how many", options.rank, options.ranks));
  if (options.step > config.train.steps)
    throw Error(ExitCode::config, fmt::format("step {}: the run has {}", options.step, counted(config.train.steps, "step")));
  const Mixture mixture(config);
  const SampleOrder& order = mixture.order();
  const int64_t batch = config.train.global_batch, consumed = order.after_steps(0, options.step - 1, batch),
                end = order.after_step(consumed, batch), mine = batch / mesh.dp(), first = mine * mesh.dp_coordinate(options.rank);
  fmt::print("step {} of {}, phase {}, slots {} to {} of {}: rank {}, {}\n", options.step, config.train.steps,
             order.phase_of(order.nth(consumed, 0)) + 1, first, first + mine - 1, batch, options.rank, mesh.describe(options.rank));
  const auto tokenizer = kept_tokenizer(mixture.tokenizer(), mixture.tokenizer_hash(), source_directories(config.data));
  for (int64_t slot = first; slot < first + mine; ++slot) {
    const int64_t sample = order.nth(consumed, slot);
    fmt::print("\n{}", sample < end ? describe(mixture, config, sample, tokenizer.get())
                                    : fmt::format("slot {} is empty: the next samples have another length\n", slot));
  }
  return 0;
}

}  // namespace drover
