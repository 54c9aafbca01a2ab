// Text cut into words by patterns, one after the other.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/code_points.h"
#include "data/tokenizer/pattern.h"

namespace drover {

class Splitter {
 public:
  explicit Splitter(const std::vector<std::string>& patterns) {
    for (const auto& pattern : patterns) patterns_.emplace_back(pattern);
  }
  // The words of a text are those of its halves where may_cut (data/utf8.h) cuts it, for every text. False where that is not known.
  bool splits_at_cuts() const {
    for (const Pattern& pattern : patterns_) {
      if (!pattern.ends_at_cuts()) return false;
      if (pattern.leaves_nothing_across_cuts()) return true;  // the patterns behind it see one side at a time
    }
    return false;
  }

  // word(std::string_view) for each word in order; together they are the text.
  template <class Word> void split(std::string_view text, Word&& word) const { split_from(0, text, word); }

 private:
  template <class Word> void split_from(size_t pattern, std::string_view text, Word& word) const {
    if (text.empty()) return;
    if (pattern == patterns_.size()) return word(text);
    const bool last = pattern + 1 == patterns_.size();
    const auto piece = [&](const char* begin, const char* end) {
      const std::string_view part(begin, static_cast<size_t>(end - begin));
      last ? word(part) : split_from(pattern + 1, part, word);
    };
    const char *at = text.data(), *end = at + text.size(), *unmatched = at;
    while (at < end) {
      const size_t bytes = patterns_[pattern].match(at, end);
      if (bytes == 0) {
        at = patterns_[pattern].next_candidate(at + decode_character(at, end).bytes, end);
        continue;
      }
      if (unmatched < at) piece(unmatched, at);
      piece(at, at + bytes);
      at += bytes;
      unmatched = at;
    }
    if (unmatched < end) piece(unmatched, end);
  }

  std::vector<Pattern> patterns_;
};

}  // namespace drover
