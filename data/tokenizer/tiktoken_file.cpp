#include <fmt/format.h>

#include <array>
#include <charconv>

#include "data/tokenizer/known_patterns.h"
#include "data/tokenizer/merges_by_bytes.h"
#include "data/tokenizer/tokenizer_files.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

constexpr size_t kLlama3Tokens = 128000, kLlama4Tokens = 200000;
// Names of special tokens, in the order of their ids after the merges.
class SpecialTokens {
 public:
  void add(std::initializer_list<const char*> names) {
    for (const char* name : names) names_.push_back(fmt::format("<|{}|>", name));
  }
  // <|PREFIXreserved_special_token_I|> for I in [first, last]
  void reserve(const std::string& prefix, int first, int last) {
    for (int i = first; i <= last; ++i) names_.push_back(fmt::format("<|{}reserved_special_token_{}|>", prefix, i));
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
};

// As in meta-llama/llama-models, models/llama3/tokenizer.py: 256 tokens.
SpecialTokens llama3_tokens() {
  SpecialTokens tokens;
  tokens.add({"begin_of_text", "end_of_text"});
  tokens.reserve("", 0, 1);
  tokens.add({"finetune_right_pad_id", "step_id", "start_header_id", "end_header_id", "eom_id", "eot_id", "python_tag", "image"});
  tokens.reserve("", 2, 245);
  return tokens;
}

// models/llama4/tokenizer.py: 2,048 tokens.
SpecialTokens llama4_tokens() {
  SpecialTokens tokens;
  tokens.add({"begin_of_text", "end_of_text", "fim_prefix", "fim_middle", "fim_suffix"});
  tokens.add({"header_start", "header_end", "eom", "eot", "step"});
  tokens.reserve("text_post_train_", 0, 5);
  tokens.add({"python_start", "python_end", "finetune_right_pad"});
  tokens.reserve("text_post_train_", 8, 68);
  tokens.add({"image_start", "image_end"});
  tokens.reserve("vision_", 0, 1);
  tokens.add({"tile_x_separator", "tile_y_separator"});
  tokens.reserve("vision_", 2, 5);
  tokens.add({"image"});
  tokens.reserve("vision_", 6, 6);
  tokens.add({"patch"});
  tokens.reserve("vision_", 7, 1047);
  tokens.reserve("reasoning_", 0, 7);
  tokens.add({"reasoning_thinking_start", "reasoning_thinking_end"});
  tokens.reserve("", 0, 2047 - static_cast<int>(tokens.names().size()));
  return tokens;
}

// False for what is no base64 (RFC 4648, padded).
bool decode_base64(std::string_view text, std::string& bytes) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.empty() || text.size() % 4 != 0) return false;
  bytes.clear();
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  uint32_t group = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool pad = i >= text.size() - padding;
    const size_t digit = pad ? 0 : kDigits.find(text[i]);
    if (digit == std::string_view::npos) return false;
    group = group << 6 | static_cast<uint32_t>(digit);
    if (i % 4 == 3)
      for (int shift = 16; shift >= 0; shift -= 8) bytes += static_cast<char>(group >> shift & 0xFF);
  }
  bytes.resize(bytes.size() - padding);
  return true;
}

}  // namespace

BpeDefinition read_tiktoken_file(const std::filesystem::path& path) {
  BpeDefinition definition;
  definition.source = path;
  const std::string text = read_text(path);
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t newline = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, newline - at);
    at = newline + 1;
    ++line_number;
    const size_t space = line.find(' ');
    size_t rank = 0;
    std::string bytes;
    const char* end = line.data() + line.size();
    const bool sound = space != std::string_view::npos && decode_base64(line.substr(0, space), bytes) &&
                       std::from_chars(line.data() + space + 1, end, rank).ptr == end && rank == definition.tokens.size();
    if (!sound)
      throw Error(ExitCode::data, fmt::format("{}:{}: not \"BASE64 RANK\" with rank {}: this is no tokenizer of tiktoken's form",
                                              path.string(), line_number, definition.tokens.size()));
    definition.tokens.push_back(bytes);
  }
  const size_t count = definition.tokens.size();
  if (count != kLlama3Tokens && count != kLlama4Tokens)
    throw Error(
        ExitCode::data,
        fmt::format("{}: {} tokens; this form names no pattern and no special tokens, and is known of Llama 3 ({} tokens) and "
                    "Llama 4 ({}) only; for another tokenizer give its tokenizer.json",
                    path.string(), count, kLlama3Tokens, kLlama4Tokens));
  const bool llama3 = count == kLlama3Tokens;
  definition.merges = merges_by_bytes(definition.tokens);
  definition.whole_words = true;
  definition.patterns = {llama3 ? kLlama3Pattern : kLlama4Pattern};
  const SpecialTokens special = llama3 ? llama3_tokens() : llama4_tokens();
  int32_t id = static_cast<int32_t>(count);
  for (const std::string& name : special.names()) definition.added.push_back({name, id++, true, false});
  definition.begin = "<|begin_of_text|>";
  definition.end = "<|end_of_text|>";
  return definition;
}

}  // namespace drover
