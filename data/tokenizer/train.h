// A byte-level BPE vocabulary from text (Sennrich et al., 2016, algorithm 1, over bytes): the pair of neighbours that is most frequent within words is
// joined, and again, until the vocabulary is full. Of pairs as frequent the one of the smaller ids comes first, as in the library `tokenizers`:
// its trainer finds the same merges for the same words.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace drover {

// How often each word occurs.
class WordCounts {
 public:
  void add(std::string_view word, int64_t count = 1);
  void add(const WordCounts& other);
  size_t words() const { return counts_.size(); }
  std::vector<std::pair<std::string_view, int64_t>> sorted()
      const;  // by word: what follows does not depend on the order of counting

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view word) const;
  };
  struct Equal : std::equal_to<> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, int64_t, Hash, Equal> counts_;
};

struct BpeTraining {
  int64_t vocab = 0;                 // ids in all: special tokens, 256 bytes, merges
  std::vector<std::string> special;  // ids from 0 on
  int64_t least_count = 2;           // rarer pairs are left alone, even if the vocabulary stays smaller
};

// Joins so found, as texts of the two parts' bytes, by rank. `progress(merges)` may be empty. REQUIRES: vocab >= special.size() + 256.
struct BpeTrained {
  std::vector<std::string> tokens;  // bytes by id, after the special ones: GPT-2's order of the bytes, then the merges
  std::vector<std::pair<int32_t, int32_t>> merges;  // ids
};
BpeTrained train_bpe(const WordCounts& words, const BpeTraining& training, const std::function<void(size_t)>& progress);

// `tokenizer.json`: words by `pattern`, as the library `tokenizers` and read_hugging_face_file read it.
std::string tokenizer_json(const BpeTrained& trained, const BpeTraining& training, const std::string& pattern);

}  // namespace drover
