// The regular expressions by which tokenizers cut text into words, as a table of states: one lookup a character, no backtracking.
//
// A pattern means what it means to the backtracking engines that tokenizers use (Perl's rules): of all matches at a place, the one that comes
// first when alternatives are tried from left to right and repetitions take as much as they can. The automaton's states are ordered lists
// of places in the pattern, so that the first match in that order is found without trying (the method of R. Cox, "Regular Expression
// Matching in the Wild", 2010). A match is noticed one character late, which is what makes (?!\S) possible: it looks at that character.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/byte_run.h"

namespace drover {

class CodePointSet;
struct PatternClasses;

class Pattern {
 public:
  // Knows: alternatives, (...), (?:...), (?i:...) of ASCII text, [...] and [^...], \p{L} and other general categories, \P, \s \S \d \D, . and
  // escapes, ? * + {m} {m,} {m,n} and their lazy forms, (?!x) and (?=x) of one character. Throws Error(data) that names what else there is
  // (\b, ^, $, possessive repetitions, references ...), and for a pattern that can match nothing at all, or that is too large.
  explicit Pattern(std::string_view expression);

  // Bytes of the match that begins at `begin`; 0: none. REQUIRES: begin < end.
  size_t match(const char* begin, const char* end) const;

  // The first place from `begin` on where a character stands with which a match can begin; `end`: none.
  const char* next_candidate(const char* begin, const char* end) const;

  // Where may_cut (data/utf8.h) cuts a text, every match ends, and the same one whether the text goes on or not. False where some text may differ.
  bool ends_at_cuts() const;
  // Spaces and line feeds always begin a match, so that what lies between matches does not reach across such a place.
  bool leaves_nothing_across_cuts() const;

 private:
  std::vector<uint8_t> classes_in(const CodePointSet& set) const;
  std::vector<uint16_t> states_behind(const std::vector<uint16_t>& from, const std::vector<uint8_t>& classes) const;
  bool end_before(const std::vector<uint16_t>& states, const std::vector<uint8_t>& classes) const;
  uint16_t entry(uint16_t state, uint8_t character_class) const {
    return next_[state * static_cast<size_t>(classes_) + character_class];
  }
  uint16_t state_behind(uint16_t state, uint8_t character_class) const {
    return static_cast<uint16_t>(entry(state, character_class) & ~kMatched);
  }
  bool matched_before(uint16_t state, uint8_t character_class) const { return (entry(state, character_class) & kMatched) != 0; }

  uint8_t class_of(char32_t code) const { return blocks_[block_of_[code >> 8]][code & 0xFF]; }
  void find_classes(const PatternClasses& classes);
  void find_ascii();
  bool begins_match(uint8_t character_class) const { return state_behind(kBeginning, character_class) != 0; }

  struct Run {             // characters after which a state is the same
    ByteSet goes_on{};     // of ASCII
    bool matched = false;  // and a match ends before each
    bool any = false;
  };
  static constexpr uint16_t kBeginning = 1;     // the state before the first character
  static constexpr uint16_t kMatched = 0x8000;  // a match ends before the character just read
  static constexpr uint16_t kNotAscii = 0x7FFF;
  int classes_ = 0;                 // of characters that the pattern does not tell apart, and the text's end as the last
  std::vector<uint16_t> block_of_;  // of each 256 code points
  std::vector<std::array<uint8_t, 256>> blocks_;        // their classes
  std::vector<uint16_t> next_;                          // [state][class]; state 0: no match can follow
  std::vector<Run> runs_;                               // by state
  ByteSet no_match_{};                                  // characters of ASCII with which none begins
  std::vector<std::array<uint16_t, 256>> behind_byte_;  // by state: next_ by byte of ASCII; kNotAscii for others
};

}  // namespace drover
