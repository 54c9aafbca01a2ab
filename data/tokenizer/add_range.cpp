#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/tokenizer/tokenizer_files.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {

std::string with_range(const std::filesystem::path& path, const std::string& name, int64_t size) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_letter))
    throw Error(ExitCode::config, fmt::format("range \"{}\": a name has letters a to z, digits and _", name));
  if (path.extension() != ".json")
    throw Error(
        ExitCode::config,
        fmt::format("{}: only a tokenizer.json can be given a range; this form has no place for its tokens", path.string()));
  const auto tokenizer = make_tokenizer(path);  // says what is wrong with the file
  for (const VocabularyRange& range : tokenizer->ranges())
    if (range.name == name) throw Error(ExitCode::config, fmt::format("{} has a range \"{}\" already", path.string(), name));
  if (tokenizer->vocab() + 2 + size > static_cast<int64_t>(BpeModel::kMostTokens))
    throw Error(ExitCode::config, fmt::format("{} with {} codes more has over {} ids", path.string(), size, BpeModel::kMostTokens));
  auto json = nlohmann::ordered_json::parse(read_text(path));
  int64_t id = tokenizer->vocab();
  const auto add = [&](const std::string& content) {
    json["added_tokens"].push_back({{"id", id++},
                                    {"content", content},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  };
  add(fmt::format("<|begin_{}|>", name));
  add(fmt::format("<|end_{}|>", name));
  for (int64_t code = 0; code < size; ++code) add(fmt::format("<|{}:{}|>", name, code));
  return json.dump(1) + "\n";
}

}  // namespace drover
