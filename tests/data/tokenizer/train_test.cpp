#include "data/tokenizer/train.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "data/tokenizer.h"
#include "data/tokenizer/byte_letters.h"
#include "data/tokenizer/count_words.h"
#include "kernels/base/files.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

// Algorithm 1 of the paper: all pairs are counted anew for each merge.
std::vector<std::pair<int32_t, int32_t>> train_slowly(const std::map<std::string, int64_t>& words, int64_t vocab, int64_t least) {
  std::map<std::string, int32_t> ids;
  std::vector<std::string> tokens;
  for (const uint8_t byte : bytes_by_letter()) {
    ids[std::string(1, static_cast<char>(byte))] = static_cast<int32_t>(tokens.size());
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<std::pair<std::vector<int32_t>, int64_t>> split;
  for (const auto& [word, count] : words) {
    split.push_back({{}, count});
    for (const char c : word) split.back().first.push_back(ids[std::string(1, c)]);
  }
  std::vector<std::pair<int32_t, int32_t>> merges;
  while (static_cast<int64_t>(tokens.size()) < vocab) {
    std::map<std::pair<int32_t, int32_t>, int64_t> counts;
    for (const auto& [parts, count] : split)
      for (size_t i = 0; i + 1 < parts.size(); ++i) counts[{parts[i], parts[i + 1]}] += count;
    std::pair<int32_t, int32_t> best;
    int64_t most = 0;
    for (const auto& [pair, count] : counts)
      if (count > most) best = pair, most = count;
    if (most < least) break;
    const std::string joined = tokens[static_cast<size_t>(best.first)] + tokens[static_cast<size_t>(best.second)];
    if (ids.try_emplace(joined, static_cast<int32_t>(tokens.size())).second) tokens.push_back(joined);
    merges.push_back(best);
    for (auto& [parts, count] : split)
      for (size_t i = 0; i + 1 < parts.size(); ++i)
        if (parts[i] == best.first && parts[i + 1] == best.second) {
          parts[i] = ids[joined];
          parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        }
  }
  return merges;
}

TEST(TrainBpe, FindsTheMergesOfThePapersAlgorithm) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    std::map<std::string, int64_t> words;
    WordCounts counts;
    for (int i = 0; i < 60; ++i) {
      std::string word;
      for (size_t length = random() % 8 + 1; length > 0; --length) word += "aaabbc\xC3\xA9"[random() % 8];
      const int64_t count = static_cast<int64_t>(random() % 9) + 1;
      words[word] += count;
      counts.add(word, count);
    }
    const BpeTraining training{.vocab = 256 + static_cast<int64_t>(random() % 90)};
    EXPECT_EQ(train_bpe(counts, training, {}).merges, train_slowly(words, training.vocab, training.least_count))
        << "round " << round;
  }
}

std::vector<Input> written_texts(const data_testing::Directory& directory) {
  std::string text, lines;
  for (int i = 0; i < 4000; ++i) text += "the cat and the hat " + std::to_string(i % 37) + (i % 5 == 0 ? "\n" : " ");
  for (int i = 0; i < 2000; ++i) lines += R"({"text": "a hat, \u00e9t\u00e9 and )" + std::to_string(i % 11) + "\"}\n";
  data_testing::write_bytes(directory.path / "plain.txt", text);
  data_testing::write_bytes(directory.path / "lines.jsonl", lines);
  return find_inputs({{directory.path / "plain.txt", directory.path / "lines.jsonl"}, ""});
}

TEST(TrainBpe, ThreadsChangeNothingAndTheFileReadsAsItWasTrained) {
  const data_testing::Directory directory;
  const auto inputs = written_texts(directory);
  const BpeTraining training{.vocab = 330, .special = {"<|begin_of_text|>", "<|end_of_text|>"}};
  const std::string pattern = pattern_named("llama3");
  std::vector<std::string> files;
  for (const int workers : {1, 3})
    files.push_back(tokenizer_json(train_bpe(count_words(inputs, {}, pattern, workers, {}), training, {}), training, pattern));
  EXPECT_EQ(files[0], files[1]);
  write_durably(directory.path / "tokenizer.json", files[0]);
  const auto tokenizer = make_tokenizer(directory.path / "tokenizer.json");
  EXPECT_EQ(tokenizer->begin_document(), 0);
  EXPECT_EQ(tokenizer->end_document(), 1);
  std::vector<int32_t> ids;
  tokenizer->encode(" the hat été", ids);
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(tokenizer->decode(ids), " the hat été");
}

TEST(TrainBpe, ABadRecordIsNamed) {
  const data_testing::Directory directory;
  data_testing::write_bytes(directory.path / "lines.jsonl", "{\"text\": \"a\"}\n{\"body\": \"b\"}\n");
  const auto inputs = find_inputs({{directory.path / "lines.jsonl"}, ""});
  const std::string error = data_testing::error_of([&] { count_words(inputs, {}, pattern_named("gpt2"), 2, {}); });
  EXPECT_NE(error.find("lines.jsonl:2"), std::string::npos) << error;
}

}  // namespace
}  // namespace drover
