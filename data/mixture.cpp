#include "data/mixture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/words.h"

namespace drover {
namespace {

// The tokens by which each source is read, in the order of names; train.sequence where none reads it.
std::vector<int64_t> blocks_of(const Config& config) {
  const OrderSpec spec = order_spec(config, std::vector<int64_t>(sources_of(config.data).size()));
  std::vector<int64_t> blocks;
  for (const OrderSource& source : spec.sources) blocks.push_back(source.block > 0 ? source.block : config.train.sequence);
  return blocks;
}

std::vector<TokenDataset> open(const Config& config) {
  std::vector<TokenDataset> opened;
  std::vector<std::string> problems;
  const std::vector<int64_t> blocks = blocks_of(config);
  std::string first;
  size_t index = 0;
  for (const auto& [name, source] : sources_of(config.data)) {
    const std::string key = key_of_source(config, name);
    try {
      opened.emplace_back(source.path, blocks[index++], config.model.vocab);
      if (first.empty()) first = key;
      if (opened.back().tokenizer_hash() != opened.front().tokenizer_hash())
        problems.push_back(fmt::format("{} was prepared with tokenizer {}, {} with {}: prepare them with one", first,
                                       opened.front().tokenizer(), key, opened.back().tokenizer()));
    } catch (const Error& error) {
      const bool by_windows = config.data.packing == Packing::best_fit && index > 0 && blocks[index - 1] > longest_sequence(config);
      problems.push_back(fmt::format("{}: {}{}", key, error.what(),
                                     by_windows
                                         ? "; packed and in several sequences a source is read by data.packing_window samples of "
                                           "the longest: a smaller window needs fewer tokens"
                                         : ""));
    }
  }
  if (!problems.empty()) throw Error(ExitCode::data, fmt::format("{}", fmt::join(problems, "\n  ")));
  return opened;
}

int64_t longest_read(const OrderSpec& spec, size_t source) {
  int64_t longest = 0;
  for (const OrderPhase& phase : spec.phases)
    if (phase.shares[source] > 0) longest = std::max(longest, phase.sequence);
  return longest;
}

std::vector<int64_t> tokens_of(const std::vector<TokenDataset>& sources) {
  std::vector<int64_t> tokens(sources.size());
  std::transform(sources.begin(), sources.end(), tokens.begin(), [](const TokenDataset& source) { return source.tokens(); });
  return tokens;
}

double share(const OrderSpec& spec, size_t phase, size_t source) {
  return static_cast<double>(spec.phases[phase].shares[source]) / static_cast<double>(kAllShares);
}

int64_t samples_of_run(const Config& config, const SampleOrder& order) {
  return order.after_steps(0, config.train.steps, config.train.global_batch);
}

}  // namespace

std::string key_of_source(const Config& config, const std::string& name) {
  return config.data.sources.empty() ? "data.train" : "data.sources." + name;
}

Mixture::Mixture(const Config& config) : sources_(open(config)), order_(order_spec(config, tokens_of(sources_))) {
  if (config.data.sources.empty()) {
    hash_ = sources_.front().hash();
    return;
  }
  std::string all;
  for (size_t s = 0; s < sources_.size(); ++s)
    all += fmt::format("{} {:016x}\n", order_.spec().sources[s].name, sources_[s].hash());
  hash_ = xxh3(all);
}

int64_t Mixture::tokens() const {
  int64_t all = 0;
  for (const TokenDataset& source : sources_) all += source.tokens();
  return all;
}

std::string Mixture::order_text() const {
  std::string text;
  const OrderSpec& spec = order_.spec();
  for (const OrderSource& source : spec.sources)
    text += fmt::format("{} seed {:016x} tokens {} block {}\n", source.name, source.seed, source.tokens, source.block);
  for (const OrderPhase& phase : spec.phases)
    text += fmt::format("until {} sequence {} shares {}\n", phase.end, phase.sequence, fmt::join(phase.shares, " "));
  for (const SampleRange& range : spec.skip) text += fmt::format("skip {} {}\n", range.begin, range.end);
  if (spec.window > 0) text += fmt::format("packed {} {}\n", spec.window, spec.pieces);
  return text;
}

void Mixture::read(int64_t sample, bool document_mask, const Batch& batch, int64_t row, int64_t most_documents) const {
  const SampleOrder::Sample at = order_.at(sample);
  const OrderSpec& spec = order_.spec();
  if (spec.window > 0)
    source(at.source).read_packed(at.token / at.sequence, {at.sequence, spec.window, spec.pieces}, batch, row);
  else
    source(at.source).read_at(at.token, at.sequence, document_mask, batch, row, most_documents);
}

std::vector<double> Mixture::epochs(int64_t samples) const {
  const std::vector<int64_t> tokens = order_.consumed(samples);
  std::vector<double> epochs;
  for (size_t s = 0; s < tokens.size(); ++s) {
    const OrderSource& source = order_.spec().sources[s];
    const int64_t epoch = source.block == 0 ? 1 : (source.tokens - 1) / source.block * source.block;
    epochs.push_back(static_cast<double>(tokens[s]) / static_cast<double>(epoch));
  }
  return epochs;
}

std::string mixture_table(const Config& config, const Mixture& mixture) {
  const SampleOrder& order = mixture.order();
  const OrderSpec& spec = order.spec();
  const int64_t end = samples_of_run(config, order);
  const std::vector<double> all = mixture.epochs(end);
  if (spec.phases.size() == 1 && config.data.sources.empty())
    return fmt::format("data    {} samples ({} tokens, tokenizer {}): the run reads {:.3g} epochs", mixture.source(0).samples(),
                       mixture.tokens(), mixture.tokenizer(), all.front());
  std::string text = fmt::format("data    {} tokens, tokenizer {}", mixture.tokens(), mixture.tokenizer());
  for (size_t s = 0; s < spec.sources.size(); ++s)
    text += fmt::format("\n  {:<10} {} tokens: the run reads {:.3g} epochs", spec.sources[s].name, spec.sources[s].tokens, all[s]);
  std::vector<double> before(spec.sources.size());
  for (size_t p = 0; p < spec.phases.size(); ++p) {
    const int64_t begin = order.begin_of(static_cast<int>(p)), to = std::min(spec.phases[p].end, end);
    if (begin >= end) {
      text += fmt::format("\n  phase {:<4} from sample {} on: the run of {} ends before it", p + 1, begin, counted(end, "sample"));
      break;
    }
    std::vector<std::string> parts;
    const std::vector<double> now = mixture.epochs(to);
    for (size_t s = 0; s < now.size(); ++s)
      if (spec.phases[p].shares[s] > 0)
        parts.push_back(fmt::format("{} {:.3g} ({:.3g} epochs)", spec.sources[s].name, share(spec, p, s), now[s] - before[s]));
    before = now;
    text += fmt::format("\n  phase {:<4} samples {} to {} of {}, {:.3g} tokens: {}", p + 1, begin, to - 1,
                        counted(spec.phases[p].sequence, "token"),
                        static_cast<double>(to - begin) * static_cast<double>(spec.phases[p].sequence), fmt::join(parts, ", "));
  }
  return text;
}

std::string packing_table(const Config& config, const Mixture& mixture) {
  constexpr int64_t kWindows = 16;
  if (!config.data.document_mask) return "";
  std::string text =
      fmt::format("packing {}; documents that are cut", config.data.packing == Packing::best_fit ? "best_fit" : "contiguous");
  const OrderSpec& spec = mixture.order().spec();
  for (size_t s = 0; s < spec.sources.size(); ++s) {
    const int64_t sequence = longest_read(spec, s);
    if (sequence == 0) continue;
    const CutCount cut = mixture.source(static_cast<int>(s))
                             .count_cuts({sequence, config.data.packing_window, config.data.max_documents_per_sample}, kWindows);
    const auto percent = [](int64_t part, int64_t all) { return 100 * static_cast<double>(part) / static_cast<double>(all); };
    text += fmt::format("\n  {:<10} {:.1f} % contiguous, {:.1f} % by best_fit: of {} in at most {} windows of {} samples of {}",
                        spec.sources[s].name, percent(cut.contiguous, cut.documents), percent(cut.packed, cut.documents),
                        counted(cut.documents, "document"), kWindows, config.data.packing_window, counted(sequence, "token"));
    text += fmt::format("; padding {:.2f} % and {:.2f} % of tokens", percent(cut.contiguous_padding, cut.tokens),
                        percent(cut.packed_padding, cut.tokens));
  }
  return text + "\n";
}

void require_epochs(const Config& config, const Mixture& mixture) {
  const OrderSpec& spec = mixture.order().spec();
  const std::vector<double> epochs = mixture.epochs(samples_of_run(config, mixture.order()));
  const std::map<std::string, SourceConfig> sources = sources_of(config.data);
  std::vector<std::string> parts;
  bool too_often = false;
  for (size_t s = 0; s < spec.sources.size(); ++s) {
    const SourceConfig& source = sources.at(spec.sources[s].name);
    const bool more = source.max_epochs > 0 && epochs[s] > source.max_epochs;
    too_often = too_often || more;
    parts.push_back(fmt::format("{} {:.3g} -> {:.3g} epochs{}", spec.sources[s].name, source.weight, epochs[s],
                                more ? fmt::format(" (at most {})", source.max_epochs) : ""));
  }
  if (too_often)
    throw Error(
        ExitCode::config,
        fmt::format("data.sources: the run of {} would read more of a source than max_epochs allows: {}; a smaller weight, fewer "
                    "steps, more data, or another max_epochs",
                    counted(config.train.steps, "step"), fmt::join(parts, ", ")));
}

}  // namespace drover
