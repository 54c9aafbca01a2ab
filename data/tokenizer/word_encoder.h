// Words to ids, by a memory of the words that came before. For one thread.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/word_cache.h"

namespace drover {

class WordEncoder {
 public:
  // `end`: bytes up to there may be read. The word is kept in mind until its ids are appended, here or by finish().
  void add(const BpeModel& model, std::string_view word, const char* end, std::vector<int32_t>& ids) {
    Waiting& waiting = waiting_[count_++];
    waiting.word = word;
    if (word.size() <= Small::kMostBytes) {
      const Small::Key key = Small::key_of(word.data(), word.size(), end);
      waiting.small = key;
      waiting.place = small_.place_of(key);
    } else if (word.size() <= Large::kMostBytes) {
      const Large::Key key = Large::key_of(word.data(), word.size(), end);
      waiting.large = key;
      waiting.place = large_.place_of(key);
    }
    if (count_ == waiting_.size()) finish(model, ids);
  }
  void finish(const BpeModel& model, std::vector<int32_t>& ids);

 private:
  using Small = WordCache<15, size_t{1} << 16>;  // a set is one cache line
  using Large = WordCache<31, size_t{1} << 14>;
  struct Waiting {
    std::string_view word;
    size_t place;
    union {
      Small::Key small;
      Large::Key large;
    };
  };
  template <class Cache>
  int32_t* append(const BpeModel& model, Cache& cache, const typename Cache::Key& key, const Waiting& waiting, int32_t* to);
  int32_t* append_made(const BpeModel& model, std::string_view word, int32_t* to);

  Small small_;
  Large large_;
  BpeModel::Workspace work_;
  std::vector<int32_t> made_;        // ids of a word that was not in memory
  std::array<Waiting, 32> waiting_;  // while one is looked up, the cache lines of those behind it are on their way
  size_t count_ = 0;
};

}  // namespace drover
