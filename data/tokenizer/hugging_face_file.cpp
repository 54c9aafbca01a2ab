#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "data/tokenizer/byte_letters.h"
#include "data/tokenizer/known_patterns.h"
#include "data/tokenizer/tokenizer_files.h"
#include "data/utf8.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMostTokens = BpeModel::kMostTokens;

// What ends a document, and what begins it, by the names that tokenizers give; the first that is there.
constexpr const char* kEnds[] = {"<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "</s>", "<eos>"};
constexpr const char* kBegins[] = {"<|begin_of_text|>", "<｜begin▁of▁sentence｜>", "<s>", "<bos>"};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(Json::parse(read_text(path), nullptr, false)) {
    definition_.source = path;
    if (!file_.is_object()) refuse("is no JSON object");
  }

  BpeDefinition read() {
    const Json& model = field(file_, "model", "");
    require_model(model);
    read_added();
    read_ranges();
    read_vocabulary(field(model, "vocab", "model."));
    read_merges(field(model, "merges", "model."));
    definition_.whole_words = model.value("ignore_merges", false);
    read_normalizer(file_.value("normalizer", Json()), "normalizer");
    read_pre_tokenizer(file_.value("pre_tokenizer", Json()), "pre_tokenizer");
    if (!byte_level_) refuse("pre_tokenizer has no ByteLevel: only BPE over bytes is supported");
    const Json decoder = file_.value("decoder", Json());
    if (decoder.is_object() && decoder.value("type", "") != "ByteLevel")
      refuse("decoder " + shown(decoder) + " is not supported; ByteLevel is");
    definition_.begin = first_added(kBegins);
    definition_.end = first_added(kEnds);
    if (definition_.end.empty())
      refuse(fmt::format("has no special token that ends a document: one of {}", fmt::join(kEnds, ", ")));
    return std::move(definition_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::data, fmt::format("tokenizer {}: {}", path_.string(), what));
  }
  static std::string shown(const Json& json) {
    std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    return text.size() > 120 ? text.substr(0, 117) + "..." : text;
  }
  const Json& field(const Json& object, const char* name, const char* where) const {
    if (!object.is_object() || !object.contains(name)) refuse(fmt::format("field {}{} is missing", where, name));
    return object[name];
  }

  void require_model(const Json& model) const {
    const std::string type = model.is_object() ? model.value("type", "BPE") : "";
    if (type != "BPE") refuse(fmt::format("model.type \"{}\" is not supported; BPE is", type));
    for (const char* name : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
      if (const Json value = model.value(name, Json()); !value.is_null() && value != Json("") && value != Json(0.0))
        refuse(fmt::format("model.{} {} is not supported; null is", name, shown(value)));
    if (model.value("byte_fallback", false))
      refuse("model.byte_fallback is not supported: that is BPE over characters, not over bytes");
  }

  void read_added() {
    const Json added = file_.value("added_tokens", Json::array());
    for (const Json& token : added) {
      const int64_t id = token.value("id", int64_t{-1});
      const std::string content = token.value("content", "");
      const bool special = token.value("special", false);
      if (id < 0 || id >= kMostTokens || content.empty()) refuse("added_tokens: " + shown(token) + " has no id or no content");
      for (const char* flag : {"single_word", "lstrip", "rstrip"})
        if (!special && token.value(flag, false)) refuse(fmt::format("added token \"{}\": {} is not supported", content, flag));
      for (size_t at = 1; at < content.size(); ++at)
        if (!special && may_cut(content, at))
          refuse(
              fmt::format("added token \"{}\" holds a place where long texts are cut (data/utf8.h): it is not supported", content));
      definition_.added.push_back({content, static_cast<int32_t>(id), special, token.value("normalized", !special)});
    }
  }

  // Special tokens <|NAME:0|>, <|NAME:1|>, ... with one id after the other, where there are <|begin_NAME|> and <|end_NAME|> too.
  void read_ranges() {
    std::map<std::string, int32_t> ids;
    for (const auto& added : definition_.added)
      if (added.special) ids[added.content] = added.id;
    for (const auto& [content, first] : ids) {
      const size_t colon = content.find(":0|>");
      if (!content.starts_with("<|") || colon == std::string::npos || colon + 4 != content.size()) continue;
      const std::string name = content.substr(2, colon - 2);
      const auto begin = ids.find(fmt::format("<|begin_{}|>", name)), end = ids.find(fmt::format("<|end_{}|>", name));
      if (begin == ids.end() || end == ids.end()) continue;
      VocabularyRange range{.name = name, .first = first, .size = 0, .begin = begin->second, .end = end->second};
      for (auto code = ids.find(content); code != ids.end(); code = ids.find(fmt::format("<|{}:{}|>", name, ++range.size)))
        if (code->second != first + range.size)
          refuse(fmt::format("range {}: {} has id {}, where {} follows <|{}:0|>", name, code->first, code->second,
                             first + range.size, name));
      definition_.ranges.push_back(range);
    }
  }

  // Empty where some character is no letter of a byte.
  static std::string bytes_of(const std::string& token) {
    std::string bytes;
    return from_letters(token, bytes) ? bytes : "";
  }

  void read_vocabulary(const Json& vocabulary) {
    if (!vocabulary.is_object()) refuse("model.vocab is no object of tokens and ids");
    std::unordered_map<int32_t, const BpeDefinition::Added*> added;
    for (const auto& token : definition_.added) added[token.id] = &token;
    for (const auto& [token, value] : vocabulary.items()) {
      if (!value.is_number_integer() || value < 0 || value >= kMostTokens)
        refuse(fmt::format("model.vocab: id {} of \"{}\"", shown(value), token));
      const auto id = value.get<int32_t>();
      const auto found = added.find(id);
      if (found != added.end() && found->second->content != token && bytes_of(token) != found->second->content)
        refuse(fmt::format("id {} is \"{}\" in model.vocab and \"{}\" in added_tokens", id, token, found->second->content));
      ids_[token] = id;
      if (static_cast<size_t>(id) >= definition_.tokens.size()) definition_.tokens.resize(static_cast<size_t>(id) + 1);
      std::string& bytes = definition_.tokens[static_cast<size_t>(id)];
      if (!bytes.empty()) refuse(fmt::format("model.vocab: two tokens have id {}", id));
      bytes = bytes_of(token);
      if (bytes.empty() && found == added.end())
        refuse(fmt::format("model.vocab: \"{}\" is not of bytes in GPT-2's alphabet", token));
    }
  }

  void read_merges(const Json& merges) {
    if (!merges.is_array()) refuse("model.merges is no list");
    uint32_t rank = 0;
    for (const Json& merge : merges) {
      std::string left, right;
      if (merge.is_string()) {
        const std::string pair = merge;
        const size_t space = pair.find(' ');
        if (space != std::string::npos) left = pair.substr(0, space), right = pair.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0], right = merge[1];
      }
      const auto id = [&](const std::string& token) {
        const auto found = ids_.find(token);
        if (token.empty() || found == ids_.end())
          refuse(fmt::format("model.merges[{}]: {}: \"{}\" is no token", rank, shown(merge), token));
        return found->second;
      };
      definition_.merges.push_back({id(left), id(right), id(left + right)});
      ++rank;
    }
  }

  void read_normalizer(const Json& normalizer, const std::string& where) {
    if (normalizer.is_null()) return;
    const std::string type = normalizer.is_object() ? normalizer.value("type", "") : "";
    if (type == "NFC") {
      definition_.form_c = true;
    } else if (type == "Sequence") {
      for (const Json& part : field(normalizer, "normalizers", "normalizer.")) read_normalizer(part, where + ".normalizers");
    } else {
      refuse(fmt::format("{} {} is not supported; NFC is", where, shown(normalizer)));
    }
  }

  void read_pre_tokenizer(const Json& part, const std::string& where) {
    const std::string type = part.is_object() ? part.value("type", "") : "";
    if (type == "Sequence") {
      for (const Json& child : field(part, "pretokenizers", "pre_tokenizer.")) read_pre_tokenizer(child, where + ".pretokenizers");
      return;
    }
    if (byte_level_) refuse(fmt::format("{} {} after ByteLevel is not supported", where, shown(part)));
    if (type == "ByteLevel") {
      byte_level_ = true;
      if (part.value("add_prefix_space", true)) refuse(where + ": ByteLevel with add_prefix_space is not supported");
      if (part.value("use_regex", true)) definition_.patterns.emplace_back(kGpt2Pattern);
    } else if (type == "Digits") {
      definition_.patterns.emplace_back(part.value("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
    } else if (type == "Split") {
      read_split(part, where);
    } else {
      refuse(fmt::format("{} {} is not supported; ByteLevel, Digits, Split and Sequence are", where, shown(part)));
    }
  }
  void read_split(const Json& part, const std::string& where) {
    if (part.value("behavior", "") != "Isolated" || part.value("invert", false))
      refuse(fmt::format("{}: Split with behavior {} and invert {} is not supported; Isolated without invert is", where,
                         shown(part.value("behavior", Json())), part.value("invert", false)));
    const Json& pattern = field(part, "pattern", "pre_tokenizer.Split.");
    if (pattern.is_object() && pattern.contains("Regex") && pattern["Regex"].is_string()) {
      definition_.patterns.push_back(pattern["Regex"]);
    } else if (pattern.is_object() && pattern.contains("String") && pattern["String"].is_string()) {
      std::string escaped;
      for (const char c : pattern["String"].get<std::string>()) {
        if (std::ispunct(static_cast<unsigned char>(c)) != 0) escaped += '\\';
        escaped += c;
      }
      definition_.patterns.push_back(escaped);
    } else {
      refuse(fmt::format("{}: pattern {} is neither Regex nor String", where, shown(pattern)));
    }
  }

  std::string first_added(std::span<const char* const> names) const {
    for (const char* name : names)
      for (const auto& added : definition_.added)
        if (added.content == name) return name;
    return "";
  }

  std::filesystem::path path_;
  Json file_;
  BpeDefinition definition_;
  std::unordered_map<std::string, int32_t> ids_;
  bool byte_level_ = false;
};

}  // namespace

BpeDefinition read_hugging_face_file(const std::filesystem::path& path) {
  try {
    return Reader(path).read();
  } catch (const Json::exception& error) {  // a field of another type
    throw Error(ExitCode::data, fmt::format("tokenizer {}: {}", path.string(), error.what()));
  }
}

}  // namespace drover
