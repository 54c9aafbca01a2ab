#include "trainer/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "configs/load.h"
#include "configs/validate.h"
#include "data/kept_tokenizer.h"
#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/base/threads.h"
#include "kernels/transfer.h"
#include "trainer/checkpoint/store.h"
#include "trainer/engine.h"

namespace drover {
namespace {

// The checkpoint's model as one rank runs it, one sequence at a time.
Config inference_config(const RunState& state, const std::filesystem::path& checkpoint) {
  LoadedConfig loaded = load_config_text(state.config_yaml, checkpoint.string() + " (saved configuration)", {});
  loaded.config.parallel = {.dp = 1};
  loaded.config.run.device = "cpu";
  loaded.config.train.micro_batch = loaded.config.train.global_batch = 1;
  loaded.config.train.recompute = Recompute::none;
  loaded.config.data.validation.clear();
  loaded.config.train.validate_every = 0;
  throw_if_any(resolve_and_validate(loaded, 1));
  return loaded.config;
}

std::unique_ptr<Tokenizer> tokenizer_of(const GenerateOptions& options, const RunState& state, const Config& config,
                                        const std::filesystem::path& checkpoint) {
  if (!options.tokenizer.empty()) {
    auto given = make_tokenizer(options.tokenizer);
    if (given->hash() == state.tokenizer_hash) return given;
    throw Error(ExitCode::data,
                fmt::format("tokenizer {} is {} ({:016x}), the checkpoint was trained on ids of {} ({:016x})", options.tokenizer,
                            given->name(), given->hash(), state.tokenizer, state.tokenizer_hash));
  }
  std::vector<std::string> directories{checkpoint.parent_path().parent_path()};
  for (const auto& directory : source_directories(config.data)) directories.push_back(directory);
  if (auto kept = kept_tokenizer(state.tokenizer, state.tokenizer_hash, directories)) return kept;
  throw Error(
      ExitCode::data,
      fmt::format("the file of tokenizer {} ({:016x}) is neither in {} nor in the data's directories; --tokenizer FILE names it",
                  state.tokenizer, state.tokenizer_hash, directories.front()));
}

// Uniform in [0, 1), a pure function of (seed, index).
double uniform(uint64_t seed, uint64_t index) { return philox4x32(seed, index, 0)[0] * 0x1p-32; }

int32_t sample(const std::vector<float>& logits, const GenerateOptions& options, uint64_t index) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] != logits[static_cast<size_t>(b)]
               ? logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]
               : a < b;
  };
  const size_t all = order.size();
  const size_t keep = options.temperature <= 0 ? 1 : options.top_k <= 0 ? all : std::min(all, static_cast<size_t>(options.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(keep), order.end(), likelier);
  if (keep == 1) return order[0];
  const double top = logits[static_cast<size_t>(order[0])];
  std::vector<double> cumulative(keep);
  double sum = 0;
  for (size_t i = 0; i < keep; ++i)
    cumulative[i] = sum += std::exp((logits[static_cast<size_t>(order[i])] - top) / options.temperature);
  const double target = uniform(options.seed, index) * sum;
  const size_t chosen = static_cast<size_t>(std::upper_bound(cumulative.begin(), cumulative.end(), target) - cumulative.begin());
  return order[std::min(chosen, keep - 1)];
}

// The last tokens of the text as a batch of one sample; the places after them are never looked at by the causal mask.
void fill_batch(Stream& stream, const Batch& batch, const std::vector<int32_t>& tokens, int64_t sequence) {
  const int64_t used = std::min<int64_t>(sequence, static_cast<int64_t>(tokens.size()));
  std::vector<int32_t> ids(static_cast<size_t>(sequence), 0), positions(ids.size()), zeros(ids.size(), 0);
  std::copy(tokens.end() - used, tokens.end(), ids.begin());
  std::iota(positions.begin(), positions.end(), 0);
  upload(stream, batch.token, ids.data());
  upload(stream, batch.target, zeros.data());
  upload(stream, batch.position, positions.data());
  upload(stream, batch.document_begin, zeros.data());
  upload(stream, batch.weight, zeros.data());  // +0.0f and 0 have the same bits: no loss is counted
}

}  // namespace

void generate(const GenerateOptions& options, const std::function<void(std::string_view)>& emit) {
  const std::filesystem::path checkpoint = std::filesystem::absolute(options.checkpoint).lexically_normal();
  set_threads(options.threads > 0 ? options.threads : available_cores());
  const auto self = make_self_communicator("generate");
  CheckpointStore store(checkpoint.parent_path().parent_path(), *self);
  const CheckpointInfo info = store.verified(checkpoint);
  const Config config = inference_config(info.state, checkpoint);
  const auto tokenizer = tokenizer_of(options, info.state, config, checkpoint);

  Engine engine(config, Mesh(config.parallel), 0, Groups{*self, *self, *self, *self, *self, *self});
  std::vector<Piece> weights;
  for (const Piece& piece : engine.held_pieces())
    if (piece.array == "master") weights.push_back(piece);
  store.load(info, weights);
  engine.publish();

  // A document's beginning: where nothing marks it, what stands before it in the data is the end of another.
  std::vector<int32_t> tokens{tokenizer->begin_document() >= 0 ? tokenizer->begin_document() : tokenizer->end_document()};
  tokenizer->encode(options.prompt, tokens);
  emit(options.prompt);
  const std::vector<Batch> batches{engine.train_buffers().front()};
  for (int64_t i = 0; i < options.max_tokens; ++i) {
    fill_batch(engine.stream(), batches[0], tokens, config.train.sequence);
    const int64_t last = std::min<int64_t>(config.train.sequence, static_cast<int64_t>(tokens.size())) - 1;
    const int32_t next = sample(engine.logits(batches, last), options, static_cast<uint64_t>(i));
    if (next == tokenizer->end_document()) break;
    tokens.push_back(next);
    emit(tokenizer->decode({next}));
  }
}

}  // namespace drover
