// A pattern as a list of instructions: what its text says, before it becomes a table of states (pattern.h).
#pragma once
#include <string_view>
#include <vector>

#include "data/tokenizer/code_points.h"

namespace drover {

struct PatternProgram {
  enum class Kind : uint8_t {
    character,  // of set `set`; then on to the next instruction
    look,  // the next character, or the text's end, must be of set `set` or not (`negated`); reads nothing; on to the next instruction
    split,  // on to `first`, and when that fails to `second`
    match,
  };
  struct Instruction {
    Kind kind;
    int set = -1;
    bool negated = false;
    int first = 0, second = 0;
  };
  std::vector<Instruction> instructions;
  std::vector<CodePointSet> sets;
};

// Throws Error(data), see pattern.h.
PatternProgram parse_pattern(std::string_view expression);

}  // namespace drover
