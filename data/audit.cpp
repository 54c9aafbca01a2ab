#include "data/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>

#include "data/mixture.h"
#include "data/shard.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/threads.h"
#include "kernels/base/words.h"
#include "kernels/cpu/dispatch.h"

namespace drover {
namespace {

constexpr int64_t kBlockBytes = 256 * 1024;  // still in the second cache when it is looked at
constexpr int64_t kBlockEnds = 8192;

template <class Token> uint32_t highest(const Token* tokens, size_t count) {
  Token most = 0;
  for (size_t i = 0; i < count; ++i) most = std::max(most, tokens[i]);
  return most;
}
DROVER_VECTOR uint32_t highest_narrow(const uint16_t* tokens, size_t count) { return highest(tokens, count); }
DROVER_VECTOR uint32_t highest_wide(const uint32_t* tokens, size_t count) { return highest(tokens, count); }

struct Outside {
  int64_t count = 0, first = 0, token = 0;
  void add(int64_t place, uint32_t id) {
    if (count++ > 0 && place > first) return;
    first = place;
    token = id;
  }
};

template <class Token> void find_outside(const std::vector<std::byte>& block, int64_t begin, int64_t vocab, Outside& found) {
  const Token* tokens = reinterpret_cast<const Token*>(block.data());
  for (size_t i = 0; i < block.size() / sizeof(Token); ++i)
    if (static_cast<int64_t>(tokens[i]) >= vocab) found.add(begin + static_cast<int64_t>(i), tokens[i]);
}

// Every token of the shard, by all threads.
Outside outside_of(const Shard& shard, int64_t vocab) {
  const int64_t width = shard.header().width, tokens = static_cast<int64_t>(shard.header().tokens),
                block_tokens = kBlockBytes / width;
  Outside all;
  std::mutex mutex;
  parallel_for((tokens + block_tokens - 1) / block_tokens, 4, [&](int64_t begin_block, int64_t end_block) {
    std::vector<std::byte> block;
    for (int64_t begin = begin_block * block_tokens; begin < std::min(end_block * block_tokens, tokens); begin += block_tokens) {
      const size_t count = static_cast<size_t>(std::min(block_tokens, tokens - begin));
      block.resize(count * static_cast<size_t>(width));
      shard.read(begin, std::span(block));
      const uint32_t most = width == 2 ? highest_narrow(reinterpret_cast<const uint16_t*>(block.data()), count)
                                       : highest_wide(reinterpret_cast<const uint32_t*>(block.data()), count);
      if (static_cast<int64_t>(most) < vocab) continue;
      const std::lock_guard lock(mutex);
      width == 2 ? find_outside<uint16_t>(block, begin, vocab, all) : find_outside<uint32_t>(block, begin, vocab, all);
    }
  });
  return all;
}

// The documents of the sample, as n-grams: a hash of 64 bits each, so that two of some millions that differ are taken for one in 1 of 10^6 audits.
class Grams {
 public:
  void add(const std::vector<int32_t>& document) {
    for (size_t i = 0; i + kLength <= document.size(); ++i)
      grams_.push_back({xxh3(document.data() + i, kLength * sizeof document[0]), documents_});
    ++documents_;
  }

  AuditRepetition count() {
    std::sort(grams_.begin(), grams_.end());
    AuditRepetition found{.documents = documents_, .grams = std::ssize(grams_)};
    for (auto begin = grams_.begin(); begin != grams_.end();) {
      const auto end = std::find_if(begin, grams_.end(), [&](const auto& gram) { return gram.first != begin->first; });
      if (begin->second != (end - 1)->second) found.across += end - begin;
      for (auto one = begin; one != end;) {
        const auto next = std::find_if(one, end, [&](const auto& gram) { return gram.second != one->second; });
        if (next - one > 1) found.within += next - one;
        one = next;
      }
      begin = end;
    }
    return found;
  }

 private:
  static constexpr size_t kLength = AuditRepetition::kGram;
  std::vector<std::pair<uint64_t, uint32_t>> grams_;  // hash and document
  uint32_t documents_ = 0;
};

class SourceLook {
 public:
  SourceLook(std::string key, const AuditLimits& limits, std::vector<std::string>& problems, AuditSource& source)
      : key_(std::move(key)), limits_(limits), problems_(problems), source_(source) {}

  void open(const std::vector<std::string>& directories) {
    for (const std::string& directory : directories)
      attempt([&] {
        for (const auto& path : list_shards(directory))
          attempt([&] {
            shards_.emplace_back(path);
            begins_.push_back(source_.tokens);
            source_.tokens += static_cast<int64_t>(shards_.back().header().tokens);
          });
      });
    source_.shards = std::ssize(shards_);
  }

  void read_tokens(int64_t vocab, const std::function<void(const std::string&, int64_t)>& read) {
    for (const Shard& shard : shards_)
      attempt([&] {
        const Outside found = outside_of(shard, vocab);
        source_.outside += found.count;
        if (found.count > 0)
          problem(fmt::format("{}: {} of {} outside model.vocab {}: the first is {} at index {}", shard.tokens_path().string(),
                              found.count, counted(shard.header().tokens, "token"), vocab, found.token, found.first));
        read(shard.path().string(), static_cast<int64_t>(shard.header().tokens));
      });
  }

  void read_documents() {
    attempt([&] {
      int64_t begin = 0;
      of_sample_ = documents_there();
      for (size_t s = 0; s < shards_.size(); ++s) begin = read_ends(s, begin);
      if (begin < source_.tokens) add_document(begin, source_.tokens);
      source_.repetition = grams_.count();
    });
  }

 private:
  template <class Body> void attempt(Body&& body) {
    try {
      body();
    } catch (const Error& error) {
      problem(error.what());
    }
  }
  void problem(const std::string& what) { problems_.push_back(fmt::format("{}: {}", key_, what)); }

  // By the headers; tokens behind the last end are a document, too.
  int64_t documents_there() const {
    int64_t documents = 0;
    for (const Shard& shard : shards_) documents += shard.document_ends().count();
    if (shards_.empty()) return 0;
    const DocumentEnds& last = shards_.back().document_ends();
    return documents + (last.count() == 0 || last.read(last.count() - 1, 1).front() < shards_.back().header().tokens);
  }

  int64_t read_ends(size_t s, int64_t begin) {
    const DocumentEnds& all = shards_[s].document_ends();
    uint64_t before = 0;
    for (int64_t first = 0; first < all.count(); first += kBlockEnds)
      for (const uint64_t end : all.read(first, std::min(kBlockEnds, all.count() - first))) {
        if (end < before || end > shards_[s].header().tokens)
          throw Error(ExitCode::data, fmt::format("{}: document end {} is out of order", shards_[s].path().string(), end));
        before = end;
        const int64_t place = begins_[s] + static_cast<int64_t>(end);
        if (place > begin) add_document(begin, place);
        begin = place;
      }
    return begin;
  }

  size_t shard_of(int64_t token) const {
    return static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), token) - begins_.begin()) - 1;
  }

  void add_document(int64_t begin, int64_t end) {
    std::vector<AuditDocument>& longest = source_.longest;
    if (std::ssize(longest) < limits_.longest || longest.back().tokens < end - begin) {
      const size_t s = shard_of(begin);
      const auto shorter =
          std::find_if(longest.begin(), longest.end(), [&](const auto& each) { return each.tokens < end - begin; });
      longest.insert(shorter, {end - begin, shards_[s].path().string(), begin - begins_[s]});
      if (std::ssize(longest) > limits_.longest) longest.pop_back();
    }
    const int64_t sampled = std::min(of_sample_, limits_.documents);
    if (taken_ < sampled && source_.documents == static_cast<int64_t>(static_cast<__int128>(taken_) * of_sample_ / sampled)) {
      ++taken_;
      grams_.add(tokens_of(begin, std::min(end, begin + limits_.document_tokens)));
    }
    ++source_.documents;
  }

  std::vector<int32_t> tokens_of(int64_t begin, int64_t end) const {
    std::vector<int32_t> tokens(static_cast<size_t>(end - begin));
    size_t s = shard_of(begin);
    for (int64_t at = begin; at < end; ++s) {
      const int64_t there = std::min(end, begins_[s] + static_cast<int64_t>(shards_[s].header().tokens)) - at;
      shards_[s].read(at - begins_[s], std::span(tokens).subspan(static_cast<size_t>(at - begin), static_cast<size_t>(there)));
      at += there;
    }
    return tokens;
  }

  std::string key_;
  const AuditLimits& limits_;
  std::vector<std::string>& problems_;
  AuditSource& source_;
  std::vector<Shard> shards_;
  std::vector<int64_t> begins_;  // global index of each shard's first token
  Grams grams_;
  int64_t of_sample_ = 0, taken_ = 0;  // documents to sample from, and sampled ones
};

// The sample that holds this one of the tokens that the run trains on.
int64_t sample_of(const SampleOrder& order, int64_t samples, int64_t token) {
  int64_t low = 0, high = samples - 1;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (order.trained_tokens(0, middle + 1) > token)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

void find_short_steps(const Config& config, const SampleOrder& order, AuditRun& run) {
  const int64_t batch = config.train.global_batch;
  double slots = 0, empty = 0;  // tokens
  for (int64_t consumed = 0, steps = 0; steps < config.train.steps;) {
    const int64_t first = order.nth(consumed, 0), sequence = order.sequence_at(first), end = order.sequence_end(first);
    const int64_t left = end >= kNoEnd ? kNoEnd : order.trained_tokens(first, end) / sequence;
    const int64_t now = std::min(config.train.steps - steps, (left + batch - 1) / batch);
    steps += now;
    slots += static_cast<double>(now) * static_cast<double>(batch * sequence);
    if (const int64_t missing = now * batch - left; missing > 0) {
      run.short_steps.push_back({steps, batch - missing, sequence});
      empty += static_cast<double>(missing * sequence);
    }
    consumed = end;
  }
  run.empty_share = empty / slots;
}

AuditRun run_of(const Config& config, const Mixture& mixture, const AuditLimits& limits) {
  const SampleOrder& order = mixture.order();
  AuditRun run{.samples = order.after_steps(0, config.train.steps, config.train.global_batch)};
  run.tokens = order.trained_tokens(0, run.samples);
  find_short_steps(config, order, run);
  run.shares.resize(order.spec().sources.size());
  const auto begin_of = [&](int64_t column) {
    return sample_of(order, run.samples, static_cast<int64_t>(static_cast<__int128>(run.tokens) * column / limits.columns));
  };
  for (int64_t column = 0; column < limits.columns; ++column) {
    const int64_t begin = begin_of(column),
                  end = column + 1 == limits.columns ? run.samples : std::max(begin + 1, begin_of(column + 1));
    const std::vector<int64_t> before = order.consumed(begin), now = order.consumed(end);
    double sum = 0;
    for (size_t s = 0; s < now.size(); ++s) sum += static_cast<double>(now[s] - before[s]);
    for (size_t s = 0; s < now.size(); ++s) run.shares[s].push_back(static_cast<double>(now[s] - before[s]) / sum);
    run.phases.push_back(order.phase_of(begin));
  }
  return run;
}

void find_epochs(const Mixture& mixture, int64_t samples, std::vector<AuditSource>& sources) {
  const SampleOrder& order = mixture.order();
  const std::vector<OrderPhase>& phases = order.spec().phases;
  for (size_t p = 0; p < phases.size() && order.begin_of(static_cast<int>(p)) < samples; ++p) {
    const std::vector<double> epochs = mixture.epochs(std::min(phases[p].end, samples));
    for (size_t s = 0; s < sources.size(); ++s) {
      sources[s].phase_epochs.push_back(epochs[s] - sources[s].epochs);
      sources[s].epochs = epochs[s];
    }
  }
}

}  // namespace

Audit audit_data(const Config& config, const AuditLimits& limits, const std::function<void(const std::string&, int64_t)>& read) {
  Audit audit;
  bool opened = true;
  for (const auto& [name, source] : sources_of(config.data)) {
    AuditSource& found = audit.sources.emplace_back(AuditSource{.name = name});
    SourceLook look(key_of_source(config, name), limits, audit.problems, found);
    const size_t problems = audit.problems.size();
    look.open(source.path);
    opened = opened && audit.problems.size() == problems;
    look.read_tokens(config.model.vocab, read);
    look.read_documents();
  }
  if (!opened) return audit;
  try {
    const Mixture mixture(config);
    audit.run = run_of(config, mixture, limits);
    find_epochs(mixture, audit.run->samples, audit.sources);
  } catch (const Error& error) {
    audit.problems.emplace_back(error.what());
  }
  return audit;
}

std::string eighths(const std::vector<double>& shares) {
  static constexpr std::array<const char*, 9> kBlocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string text;
  for (const double share : shares) {
    const long eighth = share > 0 ? std::clamp(std::lround(8 * share), 1L, 8L) : 0;
    text += kBlocks[static_cast<size_t>(eighth)];
  }
  return text;
}

}  // namespace drover
