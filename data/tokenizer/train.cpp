#include "data/tokenizer/train.h"

#include <algorithm>
#include <queue>

#include "data/tokenizer/byte_letters.h"
#include "kernels/base/hash.h"

namespace drover {
namespace {

using Pair = std::pair<int32_t, int32_t>;
struct PairHash {
  size_t operator()(const Pair& pair) const {
    const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 | static_cast<uint32_t>(pair.second);
    return (key ^ key >> 29) * 0x9E3779B97F4A7C15;
  }
};

struct Word {
  std::vector<int32_t> parts;
  int64_t count = 0;
};

// Where a pair may stand: words, some perhaps twice, some no longer.
struct Occurrences {
  int64_t count = 0;
  std::vector<uint32_t> words;
};

struct Candidate {
  int64_t count;  // when it was put; it has been put again if it is another now
  Pair pair;
  bool operator<(const Candidate& other) const { return count != other.count ? count < other.count : pair > other.pair; }
};

class Trainer {
 public:
  Trainer(const WordCounts& counts, const BpeTraining& training) : training_(training) {
    trained_.tokens = training.special;
    std::vector<int32_t> id_of_byte(256);
    for (const uint8_t byte : bytes_by_letter()) {
      id_of_byte[byte] = next_id();
      trained_.tokens.emplace_back(1, static_cast<char>(byte));
    }
    for (const auto& [word, count] : counts.sorted()) {
      Word& added = words_.emplace_back();
      added.count = count;
      for (const char c : word) added.parts.push_back(id_of_byte[static_cast<uint8_t>(c)]);
    }
    for (size_t i = static_cast<size_t>(training.special.size()); i < trained_.tokens.size(); ++i)
      ids_.emplace(trained_.tokens[i], static_cast<int32_t>(i));
  }

  BpeTrained run(const std::function<void(size_t)>& progress) {
    for (uint32_t i = 0; i < words_.size(); ++i)
      for (size_t at = 0; at + 1 < words_[i].parts.size(); ++at)
        change({words_[i].parts[at], words_[i].parts[at + 1]}, i, words_[i].count);
    put_changed();
    while (static_cast<int64_t>(trained_.tokens.size()) < training_.vocab && !candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      const auto found = pairs_.find(best.pair);
      if (found == pairs_.end() || found->second.count != best.count) continue;
      if (best.count < std::max<int64_t>(training_.least_count, 1)) break;
      join(best.pair, std::move(found->second.words));
      if (progress) progress(trained_.merges.size());
    }
    return std::move(trained_);
  }

 private:
  int32_t next_id() const { return static_cast<int32_t>(trained_.tokens.size()); }

  void join(const Pair& pair, std::vector<uint32_t> where) {
    pairs_.erase(pair);
    const std::string joined = trained_.tokens[static_cast<size_t>(pair.first)] + trained_.tokens[static_cast<size_t>(pair.second)];
    const auto [known, is_new] = ids_.try_emplace(joined, next_id());  // other parts may have given the same bytes before
    if (is_new) trained_.tokens.push_back(joined);
    trained_.merges.push_back(pair);
    std::sort(where.begin(), where.end());
    where.erase(std::unique(where.begin(), where.end()), where.end());
    for (const uint32_t word : where) join_in(word, pair, known->second);
    put_changed();
  }
  void join_in(uint32_t index, const Pair& pair, int32_t joined) {
    auto& [parts, count] = words_[index];
    for (size_t at = 0; at + 1 < parts.size(); ++at) {
      if (parts[at] != pair.first || parts[at + 1] != pair.second) continue;
      if (at > 0) {
        change({parts[at - 1], pair.first}, index, -count);
        change({parts[at - 1], joined}, index, count);
      }
      if (at + 2 < parts.size()) {
        change({pair.second, parts[at + 2]}, index, -count);
        change({joined, parts[at + 2]}, index, count);
      }
      parts[at] = joined;
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
  }
  void change(const Pair& pair, uint32_t word, int64_t by) {
    if (by < 0) {  // of the pair that is joined there is no entry any more
      const auto found = pairs_.find(pair);
      if (found == pairs_.end()) return;
      found->second.count += by;
    } else {
      Occurrences& occurrences = pairs_[pair];
      occurrences.count += by;
      if (occurrences.words.empty() || occurrences.words.back() != word) occurrences.words.push_back(word);
    }
    changed_.push_back(pair);
  }
  void put_changed() {
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const Pair& pair : changed_)
      if (const int64_t count = pairs_[pair].count; count > 0) candidates_.push({count, pair});
    changed_.clear();
  }

  const BpeTraining& training_;
  std::vector<Word> words_;
  BpeTrained trained_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::priority_queue<Candidate> candidates_;
  std::vector<Pair> changed_;
};

}  // namespace

size_t WordCounts::Hash::operator()(std::string_view word) const { return xxh3(word); }

void WordCounts::add(std::string_view word, int64_t count) {
  const auto found = counts_.find(word);
  if (found != counts_.end())
    found->second += count;
  else
    counts_.emplace(word, count);
}

void WordCounts::add(const WordCounts& other) {
  for (const auto& [word, count] : other.counts_) add(word, count);
}

std::vector<std::pair<std::string_view, int64_t>> WordCounts::sorted() const {
  std::vector<std::pair<std::string_view, int64_t>> all(counts_.begin(), counts_.end());
  std::sort(all.begin(), all.end());
  return all;
}

BpeTrained train_bpe(const WordCounts& words, const BpeTraining& training, const std::function<void(size_t)>& progress) {
  return Trainer(words, training).run(progress);
}

}  // namespace drover
