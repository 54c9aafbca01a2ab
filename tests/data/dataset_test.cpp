// Samples against a walk over the whole token sequence in memory; the order of samples.
#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

#include "tests/data/corpus.h"
#include "tests/data/testing.h"
#include "tests/file_trace.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

TEST(Dataset, SamplesEndEarlyBeyondTheMostDocuments) {
  const Directory scratch;
  const Corpus corpus = write_corpus(scratch.path / "data", 5, 60, 3);
  constexpr int64_t kSequence = 64;
  const TokenDataset dataset({(scratch.path / "data").string()}, kSequence, 258);
  Buffers buffers;
  const Batch batch = buffers.make(1, kSequence)[0];
  for (const int64_t most : {1, 2, 3, 5, 64})
    for (int64_t index = 0; index < dataset.samples(); ++index) {
      dataset.read(index, true, batch, 0, most);
      expect_sample(corpus, index, kSequence, true, batch, 0, most);
      int64_t documents = 0;
      for (int64_t t = 0; t < kSequence; ++t) documents += batch.document_begin.as<int32_t>()[t] == t;
      ASSERT_LE(documents, most);
    }
  dataset.read(0, false, batch, 0, 1);  // without the mask a sample is one document
  expect_sample(corpus, 0, kSequence, false, batch, 0);
}

TEST(Dataset, SamplesAreTheCorpusInOrder) {
  const Directory scratch;
  for (uint64_t seed = 0; seed < 12; ++seed)
    for (const int64_t sequence : {1, 7, 32}) {
      const fs::path directory = scratch.path / (std::to_string(seed) + "_" + std::to_string(sequence));
      const Corpus corpus = write_corpus(directory, seed, 40, 1 + static_cast<int>(seed % 5), seed % 2 ? 2 : 4);
      const TokenDataset dataset({directory.string()}, sequence, 258);
      ASSERT_EQ(dataset.tokens(), static_cast<int64_t>(corpus.tokens.size()));
      ASSERT_EQ(dataset.samples(), (static_cast<int64_t>(corpus.tokens.size()) - 1) / sequence);
      Buffers buffers;
      const Batch batch = buffers.make(1, 2 * sequence)[0];
      for (int64_t index = 0; index < dataset.samples(); ++index)
        for (const bool mask : {true, false}) {
          dataset.read(index, mask, batch, index % 2);
          expect_sample(corpus, index, sequence, mask, batch, index % 2);
        }
    }
}

// Opening does not read the ends, so damaged ones come this far: found by launch/fuzz shard.
TEST(Dataset, EndsBeyondTheShardBeginNoDocument) {
  const Directory scratch;
  const Corpus corpus{std::vector<int32_t>(40, 1), {0, 5, 25}};
  for (const char* name : {"a.tokens", "b.tokens"}) {
    write_shard(scratch.path / name, std::vector<int32_t>(20, 1), {5, 6, 7});
    std::string bytes = bytes_of(scratch.path / name);
    const uint64_t beyond[] = {UINT64_MAX / 2, UINT64_MAX};
    std::memcpy(bytes.data() + bytes.size() - sizeof beyond, beyond, sizeof beyond);
    write_bytes(scratch.path / name, bytes);
  }
  mark_prepared(scratch.path);
  const TokenDataset dataset({scratch.path.string()}, 8, 258);
  Buffers buffers;
  const Batch batch = buffers.make(1, 8)[0];
  for (int64_t index = 0; index < dataset.samples(); ++index) {
    dataset.read(index, true, batch, 0);
    expect_sample(corpus, index, 8, true, batch, 0);
  }
}

TEST(Dataset, DirectoriesFollowOneAnother) {
  const Directory scratch;
  Corpus a = write_corpus(scratch.path / "a", 1, 10, 2);
  const Corpus b = write_corpus(scratch.path / "b", 2, 10, 2);
  for (const int64_t begin : b.begins) a.begins.insert(begin + static_cast<int64_t>(a.tokens.size()));
  a.tokens.insert(a.tokens.end(), b.tokens.begin(), b.tokens.end());
  const TokenDataset dataset({(scratch.path / "a").string(), (scratch.path / "b").string()}, 5, 258);
  Buffers buffers;
  const Batch batch = buffers.make(1, 5)[0];
  for (int64_t index = 0; index < dataset.samples(); ++index) {
    dataset.read(index, true, batch, 0);
    expect_sample(a, index, 5, true, batch, 0);
  }
  EXPECT_NE(dataset.hash(), TokenDataset({(scratch.path / "b").string(), (scratch.path / "a").string()}, 5, 258).hash());
}

TEST(Sampler, EveryEpochIsAPermutation) {
  for (const int64_t samples : {1, 2, 3, 17, 64, 1000}) {
    std::vector<std::vector<int64_t>> epochs;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<int64_t> order;
      for (int64_t i = 0; i < samples; ++i) order.push_back(sample_at(5, epoch * samples + i, samples));
      epochs.push_back(order);
      std::sort(order.begin(), order.end());
      for (int64_t i = 0; i < samples; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
    }
    if (samples < 17) continue;
    EXPECT_NE(epochs[0], epochs[1]);
    EXPECT_NE(sample_at(5, 0, samples) + samples * sample_at(5, 1, samples),
              sample_at(6, 0, samples) + samples * sample_at(6, 1, samples));
  }
}

TEST(DatasetErrors, NameTheDirectory) {
  const Directory scratch;
  const auto open = [&](int64_t sequence = 4, int64_t vocab = 258) { TokenDataset({scratch.path.string()}, sequence, vocab); };
  expect_has(error_of([] { TokenDataset({"/nowhere/data"}, 4, 258); }), "/nowhere/data does not exist");
  expect_has(error_of([&] { open(); }), "no prepare.json");
  write_bytes(scratch.path / "base.yaml", "");
  expect_has(error_of([&] { TokenDataset({(scratch.path / "base.yaml").string()}, 4, 258); }),
             "base.yaml is a file; name a directory");
  mark_prepared(scratch.path);
  expect_has(error_of([&] { open(); }), "has no *.tokens");
  fs::remove(scratch.path / "prepare.json");
  write_shard(scratch.path / "a.tokens", std::vector<int32_t>(20, 1), {20});
  expect_has(error_of([&] { open(); }), "not finished");
  mark_prepared(scratch.path);
  EXPECT_NO_THROW(open());
  EXPECT_NO_THROW(open(19));
  expect_has(error_of([&] { open(20); }), "has 20 tokens: less than one sample");
  expect_has(error_of([&] { open(4, 257); }), "vocabulary of 258");
  write_shard(scratch.path / "b.tokens", std::vector<int32_t>(20, 1), {20}, 258, 2, 99);
  expect_has(error_of([&] { open(); }), "has 2 *.tokens, prepare.json says 1");
  mark_prepared(scratch.path);
  expect_has(error_of([&] { open(); }), "two tokenizers");
}

TEST(DatasetErrors, CorruptHeaders) {
  const Directory scratch;
  const fs::path shard = scratch.path / "a.tokens";
  write_shard(shard, std::vector<int32_t>(21, 1), {10, 21});
  mark_prepared(scratch.path);
  const std::string whole = bytes_of(shard);
  const auto expect = [&](const std::string& bytes, const std::string& says) {
    write_bytes(shard, bytes);
    const std::string message = error_of([&] { TokenDataset({scratch.path.string()}, 4, 258); });
    expect_has(message, "a.tokens");
    expect_has(message, says);
  };
  const auto changed = [&](size_t at, char value) {
    std::string bytes = whole;
    bytes[at] = value;
    return bytes;
  };
  expect("", "truncated: 0 bytes");
  expect(whole.substr(0, 255), "truncated: 255 bytes");
  expect(whole.substr(0, whole.size() - 1), "truncated or extended");
  expect(whole + "x", "truncated or extended");
  expect(changed(0, 'X'), "wrong magic");
  expect(changed(8, 9), "format version 9");
  for (size_t at = 12; at < 256; at += 7) expect(changed(at, static_cast<char>(whole[at] + 1)), "checksum does not match");
}

TEST(Shard, WritesWhatItReads) {
  const Directory scratch;
  for (const uint32_t width : {2u, 4u})
    for (const int count : {0, 1, 2, 3, 4, 5}) {
      std::vector<int32_t> tokens(static_cast<size_t>(count));
      for (int i = 0; i < count; ++i) tokens[static_cast<size_t>(i)] = width == 2 ? 65535 - i : 100000 + i;
      for (const bool document : {true, false}) {
        write_shard(scratch.path / "a.tokens", tokens,
                    document ? std::vector<uint64_t>{static_cast<uint64_t>(count)} : std::vector<uint64_t>{}, 200000, width);
        const Shard shard(scratch.path / "a.tokens");
        ASSERT_EQ(shard.header().tokens, tokens.size());
        ASSERT_EQ(shard.header().tokenizer, "bytes");
        for (size_t i = 0; i < tokens.size(); ++i) ASSERT_EQ(shard.token(static_cast<int64_t>(i)), tokens[i]);
        ASSERT_EQ(shard.ends().size(), document ? 1u : 0u);
        EXPECT_EQ(shard.compute_payload_hash(), shard.header().payload_hash);
      }
    }
}

TEST(Shard, IsSyncedBeforeItsName) {
  const Directory scratch;
  const testing::FileTrace trace;
  write_shard(scratch.path / "a.tokens", std::vector<int32_t>(100, 7), {100});
  const int renamed = trace.renamed_to(scratch.path / "a.tokens");
  trace.expect_synced(scratch.path / "a.tokens.tmp", renamed);
  trace.expect_directory_synced(scratch.path, renamed);
}

TEST(Shard, AbandonedWriterLeavesNothing) {
  const Directory scratch;
  {
    ShardWriter writer(scratch.path / "a.tokens", 2, 258, "bytes", 1);
    const std::vector<int32_t> tokens(3, 1);
    writer.append(tokens);
  }
  EXPECT_TRUE(fs::is_empty(scratch.path));
}

}  // namespace
}  // namespace drover
