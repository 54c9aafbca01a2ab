// Words of text files and how often each occurs, counted by several threads: what a vocabulary is made from.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/encode.h"
#include "data/inputs.h"
#include "data/tokenizer/train.h"

namespace drover {

// The patterns that have names: gpt2, llama3, llama4, qwen2.
std::vector<std::string> pattern_names();
const std::string& pattern_named(const std::string& name);  // REQUIRES: one of them

// `progress(bytes of text so far)` may be empty. Throws Error(data) for what prepare refuses, and with file:line for the first bad record.
WordCounts count_words(const std::vector<Input>& inputs, const TextRules& rules, const std::string& pattern, int workers,
                       const std::function<void(int64_t)>& progress);

}  // namespace drover
