#include "data/tokenizer/pattern.h"

#include <algorithm>
#include <map>

#include "data/tokenizer/code_points.h"
#include "data/tokenizer/pattern_program.h"
#include "kernels/base/error.h"

namespace drover {

// Classes of characters that no set of the pattern tells apart.
struct PatternClasses {
  std::vector<std::pair<char32_t, uint8_t>> ranges;  // where each begins, by code point, up to the next
  std::vector<std::vector<bool>> members;            // by class: in which of the pattern's sets it lies; the last is the text's end
};

namespace {

constexpr size_t kMostStates = 4096;
constexpr size_t kMostClasses = 250;

using Membership = std::vector<bool>;

PatternClasses classes_of(const std::vector<CodePointSet>& sets) {
  std::vector<char32_t> borders{0};
  for (const auto& set : sets)
    for (const auto& range : set.ranges()) borders.insert(borders.end(), {range.first, range.last + 1});
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  PatternClasses classes;
  std::map<Membership, uint8_t> known;
  for (const char32_t border : borders) {
    if (border >= kCodePoints) break;
    Membership member(sets.size());
    for (size_t i = 0; i < sets.size(); ++i) member[i] = sets[i].contains(border);
    const auto [found, is_new] = known.try_emplace(member, static_cast<uint8_t>(classes.members.size()));
    if (is_new) classes.members.push_back(member);
    if (classes.members.size() > kMostClasses)
      throw Error(ExitCode::data, "pattern of words: more classes of characters than the table holds");
    classes.ranges.emplace_back(border, found->second);
  }
  classes.members.emplace_back(sets.size());  // the end is in no set
  return classes;
}

// Ordered places in the program, best first: a state of the automaton.
using Places = std::vector<int>;

class Automaton {
 public:
  Automaton(const PatternProgram& program, const PatternClasses& classes) : program_(program), classes_(classes) {}

  // next[state][class]; state 0 is empty, state 1 the beginning.
  std::vector<uint16_t> build(uint16_t matched) {
    Places begin;
    follow(0, begin);
    state_of({});
    state_of(begin);
    std::vector<uint16_t> next;
    for (size_t state = 0; state < states_.size(); ++state)
      for (const Membership& member : classes_.members) {
        Places after;
        const bool match = step(Places(states_[state]), member, after);
        next.push_back(static_cast<uint16_t>(state_of(after) | (match ? matched : 0)));
      }
    return next;
  }

 private:
  // Adds what can be reached from `place` without reading, in the order of trying.
  void follow(int place, Places& to) const {
    const auto& instruction = program_.instructions[static_cast<size_t>(place)];
    if (instruction.kind == PatternProgram::Kind::split) {
      follow(instruction.first, to);
      if (instruction.second != instruction.first) follow(instruction.second, to);
    } else if (std::find(to.begin(), to.end(), place) == to.end()) {
      to.push_back(place);
    }
  }
  // Reads a character of the class. True: a match ends before it; worse places are given up then.
  bool step(const Places& from, const Membership& member, Places& to) const {
    for (const int place : from) {
      const auto& instruction = program_.instructions[static_cast<size_t>(place)];
      const bool inside = instruction.set >= 0 && member[static_cast<size_t>(instruction.set)];
      if (instruction.kind == PatternProgram::Kind::match) return true;
      if (instruction.kind == PatternProgram::Kind::look) {
        Places behind;
        if (inside != instruction.negated) follow(place + 1, behind);
        if (step(behind, member, to)) return true;
      } else if (inside) {
        follow(place + 1, to);
      }
    }
    return false;
  }
  int state_of(const Places& places) {
    const auto [found, is_new] = numbers_.try_emplace(places, static_cast<int>(states_.size()));
    if (is_new) states_.push_back(places);
    if (states_.size() > kMostStates) throw Error(ExitCode::data, "pattern of words: more states than the table holds");
    return found->second;
  }

  const PatternProgram& program_;
  const PatternClasses& classes_;
  std::vector<Places> states_;
  std::map<Places, int> numbers_;
};

}  // namespace

Pattern::Pattern(std::string_view expression) {
  const PatternProgram program = parse_pattern(expression);
  const PatternClasses classes = classes_of(program.sets);
  find_classes(classes);
  next_ = Automaton(program, classes).build(kMatched);
  find_ascii();
}

void Pattern::find_classes(const PatternClasses& classes) {
  classes_ = static_cast<int>(classes.members.size());
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  size_t range = 0;
  for (char32_t first = 0; first < kCodePoints; first += 256) {
    std::array<uint8_t, 256> block{};
    for (char32_t code = first; code < first + 256; ++code) {
      while (range + 1 < classes.ranges.size() && classes.ranges[range + 1].first <= code) ++range;
      block[code - first] = classes.ranges[range].second;
    }
    const auto [found, is_new] = known.try_emplace(block, static_cast<uint16_t>(blocks_.size()));
    if (is_new) blocks_.push_back(block);
    block_of_.push_back(found->second);
  }
}

void Pattern::find_ascii() {
  const std::array<uint8_t, 256>& class_of_byte = blocks_[block_of_[0]];
  runs_.resize(next_.size() / static_cast<size_t>(classes_));
  behind_byte_.resize(runs_.size());
  for (size_t byte = 0; byte < 0x80; ++byte) no_match_[byte] = begins_match(class_of_byte[byte]) ? 0 : 1;
  for (size_t state = 0; state < runs_.size(); ++state) {
    auto& behind = behind_byte_[state];
    for (size_t byte = 0; byte < 256; ++byte)
      behind[byte] = byte < 0x80 ? entry(static_cast<uint16_t>(state), class_of_byte[byte]) : kNotAscii;
    Run& run = runs_[state];
    for (const bool matched : {true, false}) {
      if (state == 0 || run.any) break;
      run.matched = matched;
      for (size_t byte = 0; byte < 0x80; ++byte) run.goes_on[byte] = behind[byte] == (state | (matched ? kMatched : 0u)) ? 1 : 0;
      run.any = std::count(run.goes_on.begin(), run.goes_on.end(), 1) > 0;
    }
  }
}

const char* Pattern::next_candidate(const char* begin, const char* end) const {
  const char* at = begin;
  while ((at = end_of_run(no_match_, at, end)) < end) {
    const DecodedCharacter character = decode_character(at, end);
    if (begins_match(class_of(character.code))) break;
    at += character.bytes;
  }
  return at;
}

size_t Pattern::match(const char* begin, const char* end) const {
  const char *at = begin, *matched = begin;
  unsigned state = kBeginning;
  const auto read = [&](uint16_t next) {
    matched = (next & kMatched) != 0 ? at : matched;
    state = next & ~unsigned{kMatched};
  };
  while (at < end) {
    const uint16_t next = behind_byte_[state][static_cast<uint8_t>(*at)];
    if (next != kNotAscii) {
      read(next);
      if (state == 0) return static_cast<size_t>(matched - begin);
      // Most characters leave the state as it is, letters after letters; but a word begins with something else: a space, and then letters.
      if (++at - begin == 1) continue;
      if (const Run& run = runs_[state]; run.any) {
        const char* before = at;
        at = end_of_run(run.goes_on, at, end);
        if (at != before && run.matched) matched = at - 1;
      }
    } else {
      const DecodedCharacter character = decode_character(at, end);
      read(entry(static_cast<uint16_t>(state), class_of(character.code)));
      if (state == 0) return static_cast<size_t>(matched - begin);
      at += character.bytes;
    }
  }
  read(entry(static_cast<uint16_t>(state), static_cast<uint8_t>(classes_ - 1)));
  return static_cast<size_t>(matched - begin);
}

}  // namespace drover
