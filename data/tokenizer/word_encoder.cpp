#include "data/tokenizer/word_encoder.h"

#include <algorithm>

namespace drover {

void WordEncoder::finish(const BpeModel& model, std::vector<int32_t>& ids) {
  const size_t before = ids.size();
  size_t most = Large::kMostIds;  // what is copied with the last word's
  for (size_t i = 0; i < count_; ++i) most += waiting_[i].word.size();
  ids.resize(before + most);
  int32_t* to = ids.data() + before;
  for (size_t i = 0; i < count_; ++i) {
    const Waiting& waiting = waiting_[i];
    if (waiting.word.size() <= Small::kMostBytes)
      to = append(model, small_, waiting.small, waiting, to);
    else if (waiting.word.size() <= Large::kMostBytes)
      to = append(model, large_, waiting.large, waiting, to);
    else
      to = append_made(model, waiting.word, to);
  }
  ids.resize(static_cast<size_t>(to - ids.data()));
  count_ = 0;
}

template <class Cache> int32_t* WordEncoder::append(const BpeModel& model, Cache& cache, const typename Cache::Key& key,
                                                    const Waiting& waiting, int32_t* to) {
  if (const auto* entry = cache.find(key, waiting.place)) return entry->copy(to);
  int32_t* end = append_made(model, waiting.word, to);
  cache.put(key, waiting.place, to, static_cast<size_t>(end - to));
  return end;
}

int32_t* WordEncoder::append_made(const BpeModel& model, std::string_view word, int32_t* to) {
  made_.clear();
  model.encode(word, work_, made_);
  return std::copy(made_.begin(), made_.end(), to);
}

}  // namespace drover
