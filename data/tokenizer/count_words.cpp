#include "data/tokenizer/count_words.h"

#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "data/text_source.h"
#include "data/tokenizer/known_patterns.h"
#include "data/tokenizer/splitter.h"
#include "data/worker_pool.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

// Counts of one thread at a time; as many as there are threads.
class CountsPool {
 public:
  std::unique_ptr<WordCounts> borrow() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<WordCounts>();
    auto counts = std::move(idle_.back());
    idle_.pop_back();
    return counts;
  }
  void give_back(std::unique_ptr<WordCounts> counts) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(counts));
  }
  // REQUIRES: all were given back.
  WordCounts sum() {
    WordCounts all;
    for (const auto& counts : idle_) all.add(*counts);
    return all;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<WordCounts>> idle_;
};

void count_piece(const TextPiece& piece, const TextRules& rules, const Splitter& splitter, WordCounts& counts) {
  const auto count = [&](std::string_view text) { splitter.split(text, [&](std::string_view word) { counts.add(word); }); };
  if (piece.format == InputFormat::text) {
    std::string repaired;
    return count(plain_text(piece, rules, repaired));
  }
  const BadRecords bad = for_each_document(piece, rules, [&](std::string_view text, int64_t) { count(text); });
  if (bad.count > 0) throw Error(ExitCode::data, bad.first.front());
}

const std::map<std::string, std::string>& known() {
  static const std::map<std::string, std::string> patterns{
      {"gpt2", kGpt2Pattern}, {"llama3", kLlama3Pattern}, {"llama4", kLlama4Pattern}, {"qwen2", kQwen2Pattern}};
  return patterns;
}

}  // namespace

std::vector<std::string> pattern_names() {
  std::vector<std::string> names;
  for (const auto& [name, pattern] : known()) names.push_back(name);
  return names;
}

const std::string& pattern_named(const std::string& name) { return known().at(name); }

WordCounts count_words(const std::vector<Input>& inputs, const TextRules& rules, const std::string& pattern, int workers,
                       const std::function<void(int64_t)>& progress) {
  const Splitter splitter({pattern});
  CountsPool counts;
  std::deque<std::future<void>> pending;
  WorkerPool pool(workers);
  TextReader reader(inputs, rules.column);
  for (TextPiece piece; reader.next(piece);) {
    pending.push_back(pool.run([&, piece = std::move(piece)] {
      auto mine = counts.borrow();
      count_piece(piece, rules, splitter, *mine);
      counts.give_back(std::move(mine));
    }));
    piece = {};
    if (static_cast<int>(pending.size()) <= 2 * workers) continue;
    pending.front().get();
    pending.pop_front();
    if (progress) progress(reader.bytes());
  }
  for (auto& task : pending) task.get();
  return counts.sum();
}

}  // namespace drover
