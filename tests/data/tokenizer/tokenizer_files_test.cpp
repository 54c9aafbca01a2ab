// What files of tokenizers say, on a small one: GPT-2's form of bytes, a few merges, a pattern, added tokens. tests/oracle compares real ones.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "data/tokenizer/tokenizer_files.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

using Json = nlohmann::json;

std::string utf8(char32_t code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};  // the alphabet ends at U+0143
}

// The 256 letters of GPT-2's alphabet, in the order of the bytes.
std::vector<std::string> alphabet() {
  std::vector<std::string> letters;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.push_back(utf8(printable ? byte : next++));
  }
  return letters;
}

// ids: bytes 0 to 255, "ab" 256, " ab" 257, "é" 258, then <|endoftext|> 259 and "[+]" 260.
Json small_file() {
  Json vocabulary = Json::object();
  const auto letters = alphabet();
  for (size_t i = 0; i < letters.size(); ++i) vocabulary[letters[i]] = i;
  vocabulary["ab"] = 256;
  vocabulary["Ġab"] = 257;
  vocabulary["Ã©"] = 258;
  return {{"added_tokens",
           {{{"id", 259}, {"content", "<|endoftext|>"}, {"special", true}, {"normalized", false}},
            {{"id", 260}, {"content", "[+]"}, {"special", false}, {"normalized", true}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b", "Ġ ab", "Ã ©"}}}}};
}

std::unique_ptr<Tokenizer> written(const data_testing::Directory& directory, const Json& file) {
  const auto path = directory.path / "tokenizer.json";
  write_durably(path, file.dump());
  return make_tokenizer(path);
}

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  EXPECT_EQ(tokenizer.decode(ids), text);
  return ids;
}

TEST(TokenizerFiles, AWordIsMergedAndSpecialTokensNeverComeFromText) {
  const data_testing::Directory directory;
  const auto tokenizer = written(directory, small_file());
  EXPECT_EQ(tokenizer->vocab(), 261);
  EXPECT_EQ(tokenizer->begin_document(), -1);
  EXPECT_EQ(tokenizer->end_document(), 259);
  EXPECT_EQ(ids_of(*tokenizer, "ab abé"), (std::vector<int32_t>{256, 257, 258}));
  EXPECT_EQ(ids_of(*tokenizer, "ab[+]ab"), (std::vector<int32_t>{256, 260, 256}));
  const auto special = ids_of(*tokenizer, "ab<|endoftext|>");
  EXPECT_EQ(std::count(special.begin(), special.end(), 259), 0);
  EXPECT_EQ(ids_of(*tokenizer, ""), std::vector<int32_t>{});
  EXPECT_EQ(tokenizer->decode({256, 259, 257}), "ab ab");
  EXPECT_EQ(tokenizer->text_bytes(256), 2);
  EXPECT_EQ(tokenizer->text_bytes(257), 3);
  EXPECT_EQ(tokenizer->text_bytes(259), 0) << "no text has a special token";
  EXPECT_EQ(tokenizer->text_bytes(260), 3) << "an added token is found in text";
}

TEST(TokenizerFiles, NormalizationIsTheFilesOwn) {
  const data_testing::Directory directory;
  Json file = small_file();
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  const auto tokenizer = written(directory, file);
  std::vector<int32_t> ids;
  tokenizer->encode("abe\u0301", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{256, 258}));
}

TEST(TokenizerFiles, TheHashTellsTokenizersApart) {
  const data_testing::Directory directory;
  const uint64_t hash = written(directory, small_file())->hash();
  EXPECT_EQ(written(directory, small_file())->hash(), hash);
  Json file = small_file();
  std::swap(file["model"]["merges"][0], file["model"]["merges"][2]);
  EXPECT_NE(written(directory, file)->hash(), hash);
  file = small_file();
  file["normalizer"] = {{"type", "NFC"}};
  EXPECT_NE(written(directory, file)->hash(), hash);
}

Json special(int id, const std::string& content) {
  return {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
}

// small_file() with special tokens from id 261 on.
Json with_special(const std::vector<std::string>& contents) {
  Json file = small_file();
  int id = 261;
  for (const auto& content : contents) file["added_tokens"].push_back(special(id++, content));
  return file;
}

TEST(TokenizerFiles, ARangeIsSpecialTokensWithOneIdAfterTheOther) {
  const data_testing::Directory directory;
  const auto tokenizer = written(
      directory, with_special({"<|begin_image|>", "<|end_image|>", "<|image:0|>", "<|image:1|>", "<|image:2|>", "<|sound:0|>"}));
  ASSERT_EQ(tokenizer->ranges().size(), 1u) << "nothing begins and ends a sound";
  const VocabularyRange& image = tokenizer->ranges()[0];
  EXPECT_EQ(image.name, "image");
  EXPECT_EQ(image.begin, 261);
  EXPECT_EQ(image.end, 262);
  EXPECT_EQ(image.first, 263);
  EXPECT_EQ(image.size, 3);
  EXPECT_TRUE(image.contains(265) && !image.contains(266) && !image.contains(262));
  EXPECT_EQ(tokenizer->text_bytes(264), 0);
  EXPECT_TRUE(written(directory, small_file())->ranges().empty());
  const std::string message = data_testing::error_of([&] {
    written(directory, with_special({"<|begin_image|>", "<|end_image|>", "<|image:1|>", "<|image:0|>"}));
  });
  data_testing::expect_has(message, "range image: <|image:1|> has id 263, where 265 follows <|image:0|>");
}

TEST(TokenizerFiles, ARangeThatWouldBeTooLargeIsNotAdded) {
  const data_testing::Directory directory;
  written(directory, small_file());
  const auto path = directory.path / "tokenizer.json";
  const auto most = static_cast<int64_t>(BpeModel::kMostTokens);
  EXPECT_THROW(with_range(path, "image", most - 262), Error);
  EXPECT_THROW(with_range(path, "Image", 1), Error);
  EXPECT_EQ(Json::parse(with_range(path, "image", 3))["added_tokens"].size(), 2u + 2 + 3);
}

TEST(TokenizerFiles, SaysWhetherLongTextsMayBeCut) {
  const data_testing::Directory directory;
  EXPECT_TRUE(written(directory, small_file())->splits_at_cuts());
  EXPECT_TRUE(written(directory, with_special({"<|ab|>", " ", "\n"}))->splits_at_cuts());
  EXPECT_FALSE(written(directory, with_special({"<|a b|>"}))->splits_at_cuts());
  EXPECT_FALSE(written(directory, with_special({"\na"}))->splits_at_cuts()) << "what stands before it is not known";
  Json file = small_file();
  file["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "(?:.|\n)+"}}}, {"behavior", "Isolated"}, {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  EXPECT_FALSE(written(directory, file)->splits_at_cuts());
}

TEST(TokenizerFiles, WhatIsNotSupportedIsRefusedByName) {
  const data_testing::Directory directory;
  const std::vector<std::pair<Json, std::string>> changes{
      {{{"model", {{"type", "Unigram"}}}}, "model.type \"Unigram\""},
      {{{"model", {{"byte_fallback", true}}}}, "byte_fallback"},
      {{{"model", {{"end_of_word_suffix", "</w>"}}}}, "end_of_word_suffix"},
      {{{"model", {{"merges", {"a x1"}}}}}, "\"x1\" is no token"},
      {{{"model", {{"vocab", {{"Ġab", 256}}}}}}, "two tokens have id 256"},
      {{{"model", {{"vocab", {{"中", 400}}}}}}, "alphabet"},
      {{{"normalizer", {{"type", "NFKC"}}}}, "NFC is"},
      {{{"pre_tokenizer", {{"type", "Metaspace"}}}}, "Metaspace"},
      {{{"pre_tokenizer", {{"add_prefix_space", true}}}}, "add_prefix_space"},
      {{{"pre_tokenizer", {{"type", "Digits"}}}}, "no ByteLevel"},
      {{{"decoder", {{"type", "WordPiece"}}}}, "decoder"},
      {{{"added_tokens", {{{"id", 259}, {"content", "<|x|>"}, {"special", true}}}}}, "ends a document"},
      {{{"added_tokens", {{{"id", 260}, {"content", "y"}, {"lstrip", true}}}}}, "lstrip"},
      {{{"added_tokens", {{{"id", 260}, {"content", "a b"}}}}}, "long texts are cut"},
      {{{"added_tokens", {{{"id", -1}, {"content", "y"}}}}}, "no id"},
      {{{"model", 3}}, "model"},
  };
  for (const auto& [change, word] : changes) {
    Json file = small_file();
    file.merge_patch(change);
    try {
      written(directory, file);
      ADD_FAILURE() << change;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("tokenizer.json"), std::string::npos) << error.what();
    }
  }
}

TEST(TokenizerFiles, ADamagedFileOfTiktokensNamesItsLine) {
  const data_testing::Directory directory;
  const auto path = directory.path / "tokenizer.model";
  const std::vector<std::pair<std::string, std::string>> contents{
      {"IQ== 0\nIg== 2\n", ":2:"}, {"IQ== 0\nI?== 1\n", ":2:"}, {"IQ==\n", ":1:"}, {"IQ== 0\n", "1 tokens"}, {"", "0 tokens"}};
  for (const auto& [content, word] : contents) {
    write_durably(path, content);
    try {
      make_tokenizer(path);
      ADD_FAILURE() << content;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(make_tokenizer(directory.path / "nothing.json"), Error);
}

}  // namespace
}  // namespace drover
