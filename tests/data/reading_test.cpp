// Reading while training: reads that fail for a while or for good, document ends found on disk, checksums in the background.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <random>
#include <thread>

#include "data/data_file.h"
#include "data/dataset.h"
#include "data/document_ends.h"
#include "data/shard_check.h"
#include "kernels/base/host.h"
#include "tests/data/testing.h"
#include "tests/file_trace.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary
using testing::FailingReads;

constexpr DataFile::Patience kShort{.tries = 4, .first_pause = 0.001};

std::string read(const DataFile& file, int64_t offset, size_t bytes) {
  std::string text(bytes, '\0');
  file.read_at(offset, text.data(), bytes);
  return text;
}

TEST(DataFile, WhatFailsForAWhileIsTriedAgain) {
  const Directory scratch;
  write_bytes(scratch.path / "a", "0123456789");
  const DataFile file(scratch.path / "a", kShort);
  for (const int error : {EIO, ESTALE, 0})  // 0: the file seems to end there
    for (const int times : {1, 3}) {
      const FailingReads reads("/a", error, times);
      EXPECT_EQ(read(file, 2, 3), "234");
      EXPECT_EQ(reads.failed(), times);
    }
}

TEST(DataFile, WhatFailsForGoodNamesFileOffsetAndHost) {
  const Directory scratch;
  write_bytes(scratch.path / "a", "0123456789");
  const DataFile file(scratch.path / "a", kShort);
  const FailingReads reads("/a", EIO, 1000);
  const std::string message = error_of([&] { read(file, 2, 3); });
  EXPECT_EQ(reads.failed(), 4);
  for (const std::string& part : {(scratch.path / "a").string() + ": Input/output error", std::string("bytes 2 to 5"),
                                  "host " + host_name(), std::string("4 times")})
    expect_has(message, part);
}

TEST(DataFile, CutShortWhileOpen) {
  const Directory scratch;
  write_bytes(scratch.path / "a", "0123456789");
  const DataFile file(scratch.path / "a", kShort);
  fs::resize_file(scratch.path / "a", 4);
  EXPECT_EQ(read(file, 1, 3), "123");
  expect_has(error_of([&] { read(file, 2, 3); }), "it ends at byte 4, 1 more were expected");
}

TEST(DataFile, IsOpenedAnewAfterAFailure) {
  const Directory scratch;
  write_bytes(scratch.path / "a", "before");
  const DataFile file(scratch.path / "a", kShort);
  write_bytes(scratch.path / "b", "behind");
  fs::rename(scratch.path / "b", scratch.path / "a");
  EXPECT_EQ(read(file, 0, 6), "before");
  {
    const FailingReads reads("/a (deleted)", ESTALE, 1);
    EXPECT_EQ(read(file, 0, 6), "behind");
  }
  fs::remove(scratch.path / "a");
  const FailingReads reads("/a (deleted)", ESTALE, 1);
  expect_has(error_of([&] { read(file, 0, 6); }), "/a: No such file or directory");
}

TEST(DataFile, MoreThanTheFirstLimitOfDescriptors) {
  const Directory scratch;
  write_bytes(scratch.path / "a", "0");
  const auto open = [&](rlim_t hard) {  // in a process of its own, whose limits stay as they are set
    const pid_t child = fork();
    if (child == 0) {
      const rlimit limit{300, hard};
      int code = setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : 9;
      try {
        std::deque<DataFile> files;
        for (int i = 0; i < 400; ++i) files.emplace_back(scratch.path / "a");
      } catch (const Error& error) {
        code = std::string(error.what()).find("of the 300 that this process may have") != std::string::npos ? 1 : 2;
      }
      _exit(code);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  };
  EXPECT_EQ(open(4096), 0);
  EXPECT_EQ(open(300), 1);
}

TEST(DataFile, APipeIsRefusedAtOnce) {
  const Directory scratch;
  ASSERT_EQ(mkfifo((scratch.path / "a").c_str(), 0600), 0);
  expect_has(error_of([&] { DataFile(scratch.path / "a"); }), "it is no file");
}

TEST(DocumentEnds, AreFoundAsInTheWholeList) {
  const Directory scratch;
  std::mt19937_64 random(3);
  for (const size_t count : {0u, 1u, 64u, 8192u, 8193u, 9000u}) {
    std::vector<uint64_t> all;
    for (size_t i = 0; i < count; ++i) all.push_back((all.empty() ? 0 : all.back()) + 1 + random() % 9);
    write_bytes(scratch.path / "a", "offset__" + std::string(reinterpret_cast<const char*>(all.data()), 8 * count));
    const DataFile file(scratch.path / "a", kShort);
    const DocumentEnds ends(file, 8, static_cast<int64_t>(count));
    for (int i = 0; i < 300; ++i) {
      const uint64_t from = random() % (all.empty() ? 3 : all.back() + 3), last = from + random() % 2000;
      std::vector<uint64_t> expected;
      for (const uint64_t end : all)
        if (end >= from && end <= last) expected.push_back(end);
      ASSERT_EQ(ends.find(from, last), expected) << count << ": " << from << " to " << last;
    }
    EXPECT_EQ(ends.read(0, ends.count()), all);
  }
}

TEST(DatasetReads, SurviveAFailureOfTokensAndOfEnds) {
  const Directory scratch;
  std::vector<int32_t> tokens(100);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  write_shard(scratch.path / "a.tokens", tokens, {30, 100});
  mark_prepared(scratch.path);
  const TokenDataset dataset({scratch.path.string()}, 20, 258);
  Buffers buffers;
  const Batch batch = buffers.make(1, 20)[0];
  const FailingReads reads("/a.tokens", EIO, 1);
  dataset.read(1, true, batch, 0);
  EXPECT_EQ(reads.failed(), 1);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(batch.token.as<int32_t>()[i], 20 + i);
    EXPECT_EQ(batch.target.as<int32_t>()[i], 21 + i);
    EXPECT_EQ(batch.document_begin.as<int32_t>()[i], i < 10 ? 0 : 10);
  }
}

void wait_for(const ShardCheck& check) {
  while (!check.done()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

constexpr ShardCheck::Pace kFast{.bytes_a_second = 1e9, .tries = 3, .pause = 0.001};

struct BackgroundCheck : ::testing::Test {
  BackgroundCheck() {
    for (const char* name : {"a.tokens", "b.tokens", "c.tokens"})
      write_shard(scratch.path / name, std::vector<int32_t>(5000, 7), {5000});
    mark_prepared(scratch.path);
  }
  void flip_a_bit(const char* name) const {
    std::string bytes = bytes_of(scratch.path / name);
    bytes[1000] ^= 1;
    write_bytes(scratch.path / name, bytes);
  }
  std::vector<std::string> directories() const { return {scratch.path.string()}; }
  const Directory scratch;
};

TEST_F(BackgroundCheck, SoundShardsAreRead) {
  const ShardCheck check(directories(), 0, 1, kFast);
  wait_for(check);
  EXPECT_NO_THROW(check.rethrow());
}

TEST_F(BackgroundCheck, EachRankHasItsShards) {
  flip_a_bit("b.tokens");
  for (const int rank : {0, 1, 2}) {
    const ShardCheck check(directories(), rank, 3, kFast);
    wait_for(check);
    if (rank != 1)
      EXPECT_NO_THROW(check.rethrow());
    else
      expect_has(error_of([&] { check.rethrow(); }), "b.tokens: the checksum of tokens and document ends does not match");
  }
}

TEST_F(BackgroundCheck, WhatCannotBeOpenedIsTriedAgain) {
  fs::rename(scratch.path / "b.tokens", scratch.path / "b");
  {
    const ShardCheck check(directories(), 0, 1, kFast);
    wait_for(check);
    expect_has(error_of([&] { check.rethrow(); }), "has 2 *.tokens, prepare.json says 3");
  }
  const ShardCheck check(directories(), 0, 1, {.bytes_a_second = 1e9, .tries = 1000000, .pause = 0.001});
  fs::rename(scratch.path / "b", scratch.path / "b.tokens");
  wait_for(check);
  EXPECT_NO_THROW(check.rethrow());
}

TEST_F(BackgroundCheck, IsNoFasterThanItMay) {
  const auto begin = std::chrono::steady_clock::now();
  const ShardCheck check(directories(), 0, 1, {.bytes_a_second = 1e6});
  wait_for(check);
  EXPECT_GE(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 0.03);  // 3 x 10008 bytes
}

TEST_F(BackgroundCheck, StopsBetweenTwoReads) {
  ShardCheck check(directories(), 0, 1, {.bytes_a_second = 1});  // it would take hours
  EXPECT_TRUE(check.stop(60));
  EXPECT_NO_THROW(check.rethrow());
}

}  // namespace
}  // namespace drover
