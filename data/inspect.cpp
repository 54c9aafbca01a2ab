#include "data/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "data/kept_tokenizer.h"
#include "data/shard.h"
#include "data/shard_check.h"
#include "kernels/base/error.h"
#include "kernels/base/words.h"

namespace drover {
namespace {

// body(index of the first, tokens) for all tokens of a shard.
template <class Body> void for_each_block(const Shard& shard, Body&& body) {
  constexpr int64_t kBlock = 1 << 18;
  const int64_t tokens = static_cast<int64_t>(shard.header().tokens);
  std::vector<int32_t> block;
  for (int64_t begin = 0; begin < tokens; begin += kBlock) {
    block.resize(static_cast<size_t>(std::min(kBlock, tokens - begin)));
    shard.read(begin, block);
    body(begin, block);
  }
}

// Index of the first token that is not in the shard's vocabulary.
std::optional<int64_t> first_outside(const Shard& shard) {
  std::optional<int64_t> first;
  for_each_block(shard, [&](int64_t begin, const std::vector<int32_t>& block) {
    for (size_t i = 0; i < block.size() && !first; ++i)
      if (static_cast<uint32_t>(block[i]) >= shard.header().vocab) first = begin + static_cast<int64_t>(i);
  });
  return first;
}

// As text, where their tokenizer is known.
std::string as_text(const Tokenizer* tokenizer, const std::vector<int32_t>& tokens) {
  if (tokenizer != nullptr) return tokenizer->decode(tokens);
  return fmt::format("tokens {}", fmt::join(tokens.begin(), tokens.begin() + std::min<ptrdiff_t>(20, std::ssize(tokens)), " "));
}

// Of the tokens of all shards, where their tokenizer has ranges and is known here.
std::string count_ranges(const std::filesystem::path& directory, const Tokenizer& tokenizer) {
  const auto& ranges = tokenizer.ranges();
  std::vector<int64_t> codes(ranges.size()), spans(ranges.size());
  int64_t others = 0;
  for (const auto& path : list_shards(directory)) {
    const Shard shard(path);
    for_each_block(shard, [&](int64_t, const std::vector<int32_t>& block) {
      for (const int32_t id : block) {
        bool of_range = false;
        for (size_t i = 0; i < ranges.size(); ++i) {
          const bool is_code = ranges[i].contains(id);
          codes[i] += is_code ? 1 : 0;
          spans[i] += id == ranges[i].begin ? 1 : 0;
          of_range = of_range || is_code;
        }
        others += of_range ? 0 : 1;
      }
    });
  }
  std::string text = fmt::format("ranges      text and special tokens: {} tokens\n", others);
  for (size_t i = 0; i < ranges.size(); ++i)
    text += fmt::format("            {}: {} tokens in {}\n", ranges[i].name, codes[i], counted(spans[i], "span"));
  return text;
}

}  // namespace

std::string inspect_data(const std::filesystem::path& directory) {
  uint64_t tokens = 0, documents = 0;
  std::vector<uint64_t> lengths;
  std::string text, sample;
  std::unique_ptr<Tokenizer> tokenizer;
  uint64_t open = 0;    // tokens of a document that began in an earlier shard
  std::string details;  // files of others that hold the tokens, counts of ranges
  for (const auto& path : list_shards(directory)) {
    const Shard shard(path);
    const ShardHeader& header = shard.header();
    if (header.foreign)
      details += fmt::format("refers to   {} ({} bytes, tokens from byte {} on)\n", header.foreign->path.string(),
                             header.foreign->bytes, header.foreign->offset);
    uint64_t begin = 0;
    for (const uint64_t end : shard.ends()) {
      lengths.push_back(open + end - begin);
      open = 0;
      begin = end;
    }
    open += header.tokens - begin;
    if (tokens == 0) {
      std::vector<int32_t> first(std::min<uint64_t>(header.tokens, 400));
      shard.read(0, first);
      tokenizer = kept_tokenizer(header.tokenizer, header.tokenizer_hash, {directory});
      sample = as_text(tokenizer.get(), first);
      text += fmt::format("tokenizer   {} (vocabulary {}, hash {:016x}), {} bytes a token\n", header.tokenizer, header.vocab,
                          header.tokenizer_hash, header.width);
    }
    tokens += header.tokens;
    documents += header.documents;
  }
  if (tokenizer && !tokenizer->ranges().empty()) details += count_ranges(directory, *tokenizer);
  std::sort(lengths.begin(), lengths.end());
  const auto quantile = [&](double q) {
    return lengths.empty() ? 0 : lengths[static_cast<size_t>(q * static_cast<double>(lengths.size() - 1))];
  };
  text +=
      fmt::format("shards      {}\ntokens      {}\ndocuments   {}\n{}", list_shards(directory).size(), tokens, documents, details);
  text += fmt::format("lengths     min {}, median {}, 90 % {}, max {} tokens\nbegins with\n{}\n", quantile(0), quantile(0.5),
                      quantile(0.9), quantile(1), sample);
  return text;
}

std::vector<std::string> verify_data(const std::filesystem::path& directory) {
  std::vector<std::string> problems;
  PreparedTotals found;
  for (const auto& path : list_shards(directory)) {
    try {
      const Shard shard(path);
      const ShardHeader& header = shard.header();
      found.tokens += static_cast<int64_t>(header.tokens);
      found.documents += static_cast<int64_t>(header.documents);
      if (shard.compute_payload_hash() != header.payload_hash) problems.push_back(checksum_problem(shard));
      if (const auto at = first_outside(shard))
        problems.push_back(fmt::format("{}: token {} at index {} is outside the vocabulary of {}", shard.tokens_path().string(),
                                       shard.token(*at), *at, header.vocab));
      const auto ends = shard.ends();
      for (size_t i = 0; i < ends.size(); ++i)
        if (ends[i] > header.tokens || (i > 0 && ends[i] <= ends[i - 1])) {
          problems.push_back(fmt::format("{}: document end {} is out of order", path.string(), i));
          break;
        }
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
  }
  const PreparedTotals said = read_totals(directory);
  if (problems.empty() && (found.tokens != said.tokens || found.documents != said.documents))
    problems.push_back(fmt::format("{}: the shards hold {} in {}, prepare.json says {} in {}", directory.string(),
                                   counted(found.tokens, "token"), counted(found.documents, "document"), said.tokens,
                                   said.documents));
  return problems;
}

}  // namespace drover
