// drover tokenizer: text to ids and back, what a tokenizer is, and how two differ.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "data/encode.h"
#include "data/spans.h"
#include "data/text_source.h"
#include "data/tokenizer/tokenizer_files.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "kernels/base/words.h"
#include "launch/commands.h"

namespace drover {
namespace {

constexpr int64_t kMostCodes = 1 << 20;

std::string read_input(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  try {
    return read_text(path);
  } catch (const Error& error) {
    throw Error(ExitCode::data, error.what());
  }
}

// each(text) for each document, as prepare finds them.
template <class Each> void for_each_text(const TokenizerOptions& options, const std::vector<VocabularyRange>& ranges, Each&& each) {
  TextRules rules = options.rules;
  rules.ranges = ranges;
  InputNames names{{options.inputs.begin(), options.inputs.end()}, options.standard_input_format};
  if (names.names.empty()) names.names = {"-"};
  TextReader reader(find_inputs(names), rules.column);
  std::string whole, repaired;
  for (TextPiece piece; reader.next(piece);) {
    if (piece.format == InputFormat::text) {
      if (piece.begins_document) whole.clear();
      whole += plain_text(piece, rules, repaired);
      if (piece.ends_document) each(whole);
      continue;
    }
    const BadRecords bad = for_each_document(piece, rules, [&](std::string_view text, int64_t) { each(text); });
    if (bad.count > 0) throw Error(ExitCode::data, bad.first.front());
  }
}

void encode(const TokenizerOptions& options, const Tokenizer& tokenizer) {
  for_each_text(options, tokenizer.ranges(), [&](std::string_view text) {
    std::vector<int32_t> ids;
    encode_document(tokenizer, text, ids);
    std::string line;
    for (const int32_t id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
    std::cout << line << "\n";
  });
}

void decode(const TokenizerOptions& options, const Tokenizer& tokenizer) {
  std::vector<std::string> inputs = options.inputs;
  if (inputs.empty()) inputs = {"-"};
  for (const std::string& path : inputs) {
    const std::string content = read_input(path);
    std::vector<int32_t> ids;
    for (const char *at = content.data(), *end = at + content.size(); at < end;) {
      if (std::isspace(static_cast<unsigned char>(*at)) != 0) {
        ++at;
        continue;
      }
      int32_t id = -1;
      const auto [after, error] = std::from_chars(at, end, id);
      if (error != std::errc() || id < 0 || id >= tokenizer.vocab())
        throw Error(ExitCode::data, fmt::format("{}: byte {}: \"{}\" is no id from 0 to {}", path, at - content.data(),
                                                std::string(at, std::min(at + 20, end)), tokenizer.vocab() - 1));
      ids.push_back(id);
      at = after;
    }
    std::cout << tokenizer.decode(ids);
  }
}

std::string shown(const Tokenizer& tokenizer, int32_t id) {
  if (id < 0) return "none";
  return fmt::format("{} {}", id,
                     nlohmann::json(tokenizer.text(id)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void inspect(const Tokenizer& tokenizer) {
  int64_t unused = 0, longest = 0;
  std::vector<int64_t> by_length(5);  // 1, 2, 3 to 4, 5 to 8, more bytes
  for (int32_t id = 0; id < tokenizer.vocab(); ++id) {
    const auto size = static_cast<int64_t>(tokenizer.text(id).size());
    if (size == 0) {
      ++unused;
      continue;
    }
    ++by_length[size <= 2 ? static_cast<size_t>(size - 1) : size <= 4 ? 2 : size <= 8 ? 3 : 4];
    if (size > static_cast<int64_t>(tokenizer.text(static_cast<int32_t>(longest)).size())) longest = id;
  }
  fmt::print("name        {}\nvocabulary  {} ids, {} of them without text\nhash        {:016x}\n", tokenizer.name(),
             tokenizer.vocab(), unused, tokenizer.hash());
  fmt::print("begins      {}\nends        {}\n", shown(tokenizer, tokenizer.begin_document()),
             shown(tokenizer, tokenizer.end_document()));
  fmt::print("bytes       1: {}, 2: {}, 3 to 4: {}, 5 to 8: {}, more: {}\n", by_length[0], by_length[1], by_length[2], by_length[3],
             by_length[4]);
  fmt::print("longest     {}\n", shown(tokenizer, static_cast<int32_t>(longest)));
  if (!tokenizer.description().empty()) fmt::print("{}\n", tokenizer.description());
  fmt::print("long texts  {}\n", tokenizer.splits_at_cuts() ? "cut between words, where prepare cuts them"
                                                            : "never cut: words may reach across any place where prepare would");
}

// 0: the same ids for the texts (without texts: the same vocabulary); 10: not.
int compare(const TokenizerOptions& options, const Tokenizer& a, const Tokenizer& b) {
  int64_t different = 0;
  int32_t first = -1;
  for (int32_t id = 0; id < std::max(a.vocab(), b.vocab()); ++id) {
    const bool same = id < a.vocab() && id < b.vocab() && a.text(id) == b.text(id);
    if (!same && different++ == 0) first = id;
  }
  fmt::print("vocabulary  {} and {} ids, {} of them stand for different texts\n", a.vocab(), b.vocab(), different);
  if (first >= 0)
    fmt::print("first       {} and {}\n", first < a.vocab() ? shown(a, first) : "none",
               first < b.vocab() ? shown(b, first) : "none");
  if (options.inputs.empty()) return static_cast<int>(different == 0 ? ExitCode::done : ExitCode::different);
  int64_t bytes = 0, tokens_a = 0, tokens_b = 0, texts = 0, unequal = 0;
  std::vector<VocabularyRange> common;
  for (const VocabularyRange& range : a.ranges())
    if (std::any_of(b.ranges().begin(), b.ranges().end(),
                    [&](const auto& other) { return other.name == range.name && other.size == range.size; }))
      common.push_back(range);
  for_each_text(options, common, [&](std::string_view text) {
    std::vector<int32_t> ids_a, ids_b;
    encode_document(a, text, ids_a);
    encode_document(b, text, ids_b);
    bytes += static_cast<int64_t>(text.size());
    tokens_a += static_cast<int64_t>(ids_a.size());
    tokens_b += static_cast<int64_t>(ids_b.size());
    ++texts;
    if (ids_a == ids_b) return;
    if (unequal++ > 0) return;
    const size_t at =
        static_cast<size_t>(std::mismatch(ids_a.begin(), ids_a.end(), ids_b.begin(), ids_b.end()).first - ids_a.begin());
    fmt::print("text {}      differs first at token {}: {} and {}\n", texts, at,
               at < ids_a.size() ? shown(a, ids_a[at]) : "the end", at < ids_b.size() ? shown(b, ids_b[at]) : "the end");
  });
  const auto ratio = [&](int64_t tokens) { return static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(tokens, 1)); };
  fmt::print("texts       {}, {} of them with different ids\nbytes       {:.3f} and {:.3f} a token\n", texts, unequal,
             ratio(tokens_a), ratio(tokens_b));
  return static_cast<int>(unequal == 0 ? ExitCode::done : ExitCode::different);
}

}  // namespace

int add_range_command(const std::string& tokenizer, const std::string& range, const std::string& out) {
  const size_t equals = std::min(range.find('='), range.size());
  const std::string digits = range.substr(std::min(equals + 1, range.size()));
  int64_t size = 0;
  const auto [after, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
  if (error != std::errc() || after != digits.data() + digits.size() || size < 1 || size > kMostCodes)
    throw Error(ExitCode::config, fmt::format("\"{}\" is no NAME=SIZE, a size of 1 to {}, such as image=8192", range, kMostCodes));
  write_durably(out, with_range(tokenizer, range.substr(0, equals), size));
  inspect(*make_tokenizer(out));
  return 0;
}

int tokenizer_command(const std::string& verb, const TokenizerOptions& options) {
  const auto tokenizer = make_tokenizer(options.tokenizer);
  if (verb == "encode") encode(options, *tokenizer);
  if (verb == "decode") decode(options, *tokenizer);
  if (verb == "inspect") inspect(*tokenizer);
  if (verb == "compare") return compare(options, *tokenizer, *make_tokenizer(options.other));
  return 0;
}

}  // namespace drover
