// Whether text may be cut where may_cut (data/utf8.h) says, by looking at all states that the automaton can be in there.
#include <algorithm>

#include "data/tokenizer/code_points.h"
#include "data/tokenizer/pattern.h"

namespace drover {

// Classes in which some character of the set lies.
std::vector<uint8_t> Pattern::classes_in(const CodePointSet& set) const {
  std::vector<bool> seen(static_cast<size_t>(classes_));
  for (const auto& range : set.ranges())
    for (char32_t code = range.first; code <= range.last; ++code) seen[class_of(code)] = true;
  std::vector<uint8_t> classes;
  for (size_t i = 0; i < seen.size(); ++i)
    if (seen[i]) classes.push_back(static_cast<uint8_t>(i));
  return classes;
}

// States behind `from` and one character of the classes, ascending; without state 0, from which nothing goes on.
std::vector<uint16_t> Pattern::states_behind(const std::vector<uint16_t>& from, const std::vector<uint8_t>& classes) const {
  std::vector<uint16_t> states;
  for (const uint16_t state : from)
    for (const uint8_t character : classes)
      if (const uint16_t next = state_behind(state, character); next != 0) states.push_back(next);
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  return states;
}

// No match of these states goes on through a character of the classes, nor is another one because the text goes on there.
bool Pattern::end_before(const std::vector<uint16_t>& states, const std::vector<uint8_t>& classes) const {
  const auto end = static_cast<uint8_t>(classes_ - 1);
  return std::all_of(states.begin(), states.end(), [&](uint16_t state) {
    return std::all_of(classes.begin(), classes.end(), [&](uint8_t character) {
      return state_behind(state, character) == 0 && matched_before(state, character) == matched_before(state, end);
    });
  });
}

bool Pattern::ends_at_cuts() const {
  const CodePointSet white = CodePointSet::white_space();
  CodePointSet white_or_slash = white;
  white_or_slash.add(CodePointSet('/', '/'));
  const std::vector<uint8_t> space{class_of(' ')}, line_feed{class_of('\n')}, dark = classes_in(white.complement());
  std::vector<uint16_t> all;
  for (size_t state = 1; state < runs_.size(); ++state) all.push_back(static_cast<uint16_t>(state));
  const std::vector<uint16_t> behind_dark = states_behind(all, dark);
  std::vector<uint16_t> before_line_feed = behind_dark;
  before_line_feed.push_back(kBeginning);  // a match may end just there
  return end_before(behind_dark, space) &&
         end_before(states_behind(before_line_feed, line_feed), classes_in(white_or_slash.complement()));
}

bool Pattern::leaves_nothing_across_cuts() const {
  for (const char first : {' ', '\n'})
    for (int second = 0; second < classes_; ++second) {
      const uint16_t state = state_behind(kBeginning, class_of(static_cast<char32_t>(first)));
      if (state == 0 || !matched_before(state, static_cast<uint8_t>(second))) return false;
    }
  return true;
}

}  // namespace drover
