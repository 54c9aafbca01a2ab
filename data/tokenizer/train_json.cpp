#include <nlohmann/json.hpp>

#include "data/tokenizer/byte_letters.h"
#include "data/tokenizer/train.h"

namespace drover {

std::string tokenizer_json(const BpeTrained& trained, const BpeTraining& training, const std::string& pattern) {
  using Json = nlohmann::ordered_json;
  Json added = Json::array(), vocabulary = Json::object(), merges = Json::array();
  const auto special = training.special.size();
  std::vector<std::string> letters = training.special;
  for (size_t id = 0; id < special; ++id)
    added.push_back({{"id", id},
                     {"content", training.special[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  for (size_t id = special; id < trained.tokens.size(); ++id) letters.push_back(to_letters(trained.tokens[id]));
  for (size_t id = 0; id < letters.size(); ++id) vocabulary[letters[id]] = id;
  for (const auto& [left, right] : trained.merges)
    merges.push_back({letters[static_cast<size_t>(left)], letters[static_cast<size_t>(right)]});
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", vocabulary},
                       {"merges", merges}}}};
  return file.dump(1) + "\n";
}

}  // namespace drover
