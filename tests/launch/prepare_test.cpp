// `drover prepare` and `drover data`: what they say, and with which code they end.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;

struct PrepareCommand : ::testing::Test {
  void expect(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& words) const {
    const std::string output = sandbox.expect(arguments, code, words);
    EXPECT_EQ(testing::count(output, "\033"), 0) << "no terminal: " << output;
  }
  testing::Sandbox sandbox;  // has corpus.jsonl, and data made of it
};

TEST_F(PrepareCommand, SaysWhatItMade) {
  expect({"prepare", "--out", "new", "corpus.jsonl"}, 0, {"900 documents, ", " tokens in 1 shard,", "MB/s"});
  expect({"prepare", "--out", "new", "corpus.jsonl"}, 0, {"new: already prepared", "900 documents"});
  expect({"prepare", "--out", "new", "--jsonl-field", "body", "corpus.jsonl"}, 4, {"new already holds shards of other inputs"});
  expect({"prepare", "--out", "other", "--jsonl-field", "body", "corpus.jsonl"}, 4, {"corpus.jsonl:1: no field \"body\""});
}

TEST_F(PrepareCommand, CountsOfOneAreSingular) {
  std::ofstream(sandbox.path() / "one.txt") << "one";
  expect({"prepare", "--out", "one", "one.txt"}, 0, {"1 document, 5 tokens in 1 shard, "});
}

// shard_100000 would be read before shard_99999.
TEST_F(PrepareCommand, WhatItSuggestsForIllFormedTextTokenizersCommandsTakeToo) {
  std::ofstream(sandbox.path() / "bad.txt") << "a\xff"
                                            << "b";
  const std::vector<std::string> encode{"tokenizer", "encode", "bytes", "bad.txt"};
  sandbox.expect(encode, 4, {"bad.txt:1: ill-formed UTF-8 at byte 2", "--invalid-utf8 replace makes it U+FFFD"});
  sandbox.expect({"tokenizer", "encode", "bytes", "bad.txt", "--invalid-utf8", "replace"}, 0, {"97 239 191 189 98"});
  sandbox.expect({"tokenizer", "train", "--vocab", "300", "--out", "t.json", "--invalid-utf8", "replace", "bad.txt"}, 0,
                 {"t.json"});
  sandbox.expect({"tokenizer", "encode", "bytes", "bad.txt", "--invalid-utf8", "drop"}, 2, {"refuse", "replace"});
}

TEST_F(PrepareCommand, MoreShardsThanNamesAreRefused) {
  std::ofstream(sandbox.path() / "long.txt") << std::string(100000, 'x');
  expect({"prepare", "--out", "many", "--shard-tokens", "1", "long.txt"}, 4,
         {"many: more than 100000 shards", "--shard-tokens 1 is too small"});
}

TEST_F(PrepareCommand, InspectShowsCountsLengthsAndASample) {
  expect({"data", "inspect", "data"}, 0,
         {"tokenizer   bytes (vocabulary 258", "documents   900", "lengths     min 2, median", "begins with"});
  expect({"data", "inspect", "nowhere"}, 4, {"nowhere does not exist", "drover prepare --out nowhere"});
}

TEST_F(PrepareCommand, VerifyFindsAFlippedBitAndAMissingShard) {
  expect({"data", "verify", "data"}, 0, {"data: sound"});
  const fs::path shard = sandbox.path() / "data/shard_00001.tokens";
  fs::copy(shard, sandbox.path() / "kept");
  {
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1000);
    file.put('\x7f');
  }
  expect({"data", "verify", "data"}, 4, {"shard_00001.tokens", "checksum"});
  fs::remove(shard);
  expect({"data", "verify", "data"}, 4, {"*.tokens, prepare.json says"});
  sandbox.configure({});
  expect({"train", "config.yaml"}, 4, {"*.tokens, prepare.json says"});
}

}  // namespace
}  // namespace drover
