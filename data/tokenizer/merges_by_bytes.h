// tiktoken's rule as a list of merges. tiktoken joins the two neighbours whose bytes together are the token of the lowest id, whichever two they are.
#pragma once
#include <string>
#include <vector>

#include "data/tokenizer/bpe.h"

namespace drover {

// Of all ways to cut a token in two, those that can come up while a word is merged; all ways of one token have the same rank.
std::vector<BpeMerge> merges_by_bytes(const std::vector<std::string>& tokens);

}  // namespace drover
