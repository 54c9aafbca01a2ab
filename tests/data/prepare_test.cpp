// Preparation: one result for any number of workers and any compression, damage named, nothing half-made taken for data.
#include "data/prepare.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "data/inspect.h"
#include "data/parquet_source.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

std::string gzipped(const fs::path& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return bytes_of(path);
}
std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}
// Text of about `bytes`, with line breaks.
std::string prose(uint64_t seed, size_t bytes) {
  std::mt19937_64 random(seed);
  std::string text;
  while (text.size() < bytes) text += random() % 17 == 0 ? '\n' : static_cast<char>('a' + random() % 26);
  return text;
}
std::vector<int32_t> document(const std::string& text) {
  std::vector<int32_t> tokens{256};
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  tokens.push_back(257);
  return tokens;
}
// All tokens of a directory, and the documents' ends counted over all shards.
std::pair<std::vector<int32_t>, std::vector<uint64_t>> read_all(const fs::path& directory) {
  std::pair<std::vector<int32_t>, std::vector<uint64_t>> all;
  for (const fs::path& path : list_shards(directory)) {
    const Shard shard(path);
    for (const uint64_t end : shard.ends()) all.second.push_back(all.first.size() + end);
    const size_t before = all.first.size();
    all.first.resize(before + shard.header().tokens);
    shard.read(0, std::span(all.first).subspan(before));
  }
  return all;
}
PrepareResult run(const fs::path& out, const std::vector<fs::path>& inputs, int workers = 2, int64_t shard_tokens = 1 << 28,
                  double tail = 0) {
  PrepareOptions options;
  options.out = out, options.inputs = inputs, options.workers = workers, options.shard_tokens = shard_tokens,
  options.validation_tail = tail;
  return prepare(options, nullptr);
}

TEST(Prepare, DocumentsBecomeTokens) {
  const Directory scratch;
  write_bytes(scratch.path / "a.txt", "Hi\xc3\xa9\n");
  write_bytes(scratch.path / "b.jsonl", "{\"text\": \"x\\ny\"}\n\n{\"id\": 3, \"text\": \"\"}");
  const PrepareResult result = run(scratch.path / "out", {scratch.path / "a.txt", scratch.path / "b.jsonl"});
  const auto [tokens, ends] = read_all(scratch.path / "out");
  EXPECT_EQ(tokens, (std::vector<int32_t>{256, 'H', 'i', 0xc3, 0xa9, '\n', 257, 256, 'x', '\n', 'y', 257, 256, 257}));
  EXPECT_EQ(ends, (std::vector<uint64_t>{7, 12, 14}));
  EXPECT_EQ(result.documents, 3);
  EXPECT_EQ(result.tokens, 14);
  EXPECT_EQ(result.shards, 1);
  EXPECT_TRUE(verify_data(scratch.path / "out").empty());
}

TEST(Prepare, NumberOfWorkersChangesNothing) {
  const Directory scratch;
  std::vector<fs::path> inputs;
  std::vector<int32_t> expected;
  for (int i = 0; i < 4; ++i) {
    inputs.push_back(scratch.path / ("in" + std::to_string(i) + ".txt"));
    const std::string text = prose(static_cast<uint64_t>(i), i == 1 ? 2500000 : 300000);  // one of several pieces
    write_bytes(inputs.back(), text);
    const auto tokens = document(text);
    expected.insert(expected.end(), tokens.begin(), tokens.end());
  }
  for (const int workers : {1, 2, 5}) {
    const fs::path out = scratch.path / ("out" + std::to_string(workers));
    const PrepareResult result = run(out, inputs, workers, 400000);
    EXPECT_GT(result.shards, 2);
    EXPECT_TRUE(read_all(out).first == expected);
    EXPECT_EQ(read_all(out).second.size(), 4u);
    for (const fs::path& path : list_shards(out))
      EXPECT_TRUE(bytes_of(path) == bytes_of(scratch.path / "out1" / path.filename())) << path;
  }
}

TEST(Prepare, CompressionChangesNothing) {
  const Directory scratch;
  const std::string text = prose(8, 1500000);
  std::string lines;
  for (int i = 0; i < 3000; ++i)
    lines += "{\"text\": \"line " + std::to_string(i) + std::string(static_cast<size_t>(i % 900), 'z') + "\"}\n";
  for (const auto& [name, content] : {std::pair{"a.txt", text}, std::pair{"a.jsonl", lines}}) {
    const fs::path plain = scratch.path / name, gz = plain.string() + ".gz", zst = plain.string() + ".zst";
    write_bytes(plain, content);
    gzipped(gz, content);
    write_bytes(zst, zstd(content.substr(0, 700000)) + zstd(content.substr(700000)));  // two frames
    const fs::path out = scratch.path / (std::string("out_") + name);
    run(out / "plain", {plain}), run(out / "gz", {gz}), run(out / "zst", {zst});
    const std::string shard = bytes_of(out / "plain/shard_00000.tokens");
    EXPECT_TRUE(bytes_of(out / "gz/shard_00000.tokens") == shard) << name;
    EXPECT_TRUE(bytes_of(out / "zst/shard_00000.tokens") == shard) << name;
  }
}

TEST(Prepare, LinesLongerThanAPiece) {
  const Directory scratch;
  const std::string long_text(3000000, 'q');
  write_bytes(scratch.path / "a.jsonl", "{\"text\": \"" + long_text + "\"}\n{\"text\": \"b\"}\n");
  run(scratch.path / "out", {scratch.path / "a.jsonl"});
  EXPECT_EQ(read_all(scratch.path / "out").second, (std::vector<uint64_t>{3000002, 3000005}));
}

TEST(Prepare, NamesSayWhatAFileHolds) {
  const Directory scratch;
  const std::string record = "{\"text\": \"a\"}\n";
  for (const char* name : {"a.jsonl", "a.ndjson", "A.JSONL", "a.Ndjson.gz", "A.JSONL.ZST", "a.txt", "jsonl"}) {
    const fs::path input = scratch.path / name, out = scratch.path / (std::string("out_") + name);
    write_bytes(input, input.extension() == ".ZST" ? zstd(record) : record);
    run(out, {input});
    const bool plain = input == scratch.path / "a.txt" || input == scratch.path / "jsonl";
    EXPECT_EQ(read_all(out).first, document(plain ? record : "a")) << name;
  }
  for (const auto& [name, remedy] : {std::pair{"a.json", "name it .jsonl"}, {"A.JSON.gz", "jq -c"}, {"a.parquet", "to_json"}}) {
    if (name == std::string("a.parquet") && reads_parquet()) continue;
    const fs::path input = scratch.path / name;
    write_bytes(input, record);
    const std::string message = error_of([&] { run(scratch.path / "refused", {scratch.path / "a.txt", input}); });
    expect_has(message, name), expect_has(message, remedy);
    EXPECT_FALSE(fs::exists(scratch.path / "refused"));
  }
}

// Also where a document, or a piece of a long one, ends elsewhere.
TEST(Prepare, EachShardButTheLastHasTheTokensAskedFor) {
  const Directory scratch;
  const fs::path a = scratch.path / "a.jsonl", b = scratch.path / "b.txt", out = scratch.path / "out";
  const std::string text = prose(3, 1500000), record(99998, 'r');
  write_bytes(a, "{\"text\": \"" + record + "\"}\n{\"text\": \"short\"}\n"), write_bytes(b, text);
  run(out, {a, b}, 2, 100000);
  std::vector<int32_t> expected = document(record);
  for (const auto& more : {document("short"), document(text)}) expected.insert(expected.end(), more.begin(), more.end());
  EXPECT_TRUE(read_all(out).first == expected);
  EXPECT_EQ(read_all(out).second, (std::vector<uint64_t>{100000, 100007, expected.size()}));
  const std::vector<fs::path> shards = list_shards(out);
  for (const fs::path& path : shards)
    EXPECT_EQ(Shard(path).header().tokens, path == shards.back() ? expected.size() % 100000 : 100000) << path;
  EXPECT_EQ(Shard(shards.front()).ends().back(), 100000u) << "an end at the border belongs to the shard that it ends";
}

TEST(PrepareErrors, NameFileAndLine) {
  const Directory scratch;
  const fs::path input = scratch.path / "a.jsonl";
  const auto fails = [&](const std::string& text) {
    write_bytes(input, text);
    std::string message = error_of([&] { run(scratch.path / "out", {input}); });
    EXPECT_FALSE(fs::exists(scratch.path / "out/prepare.json"));
    return message;
  };
  expect_has(fails("{\"text\": \"a\"}\n\n{\"text\": \n"), "a.jsonl:3: not a JSON object (column 10: syntax error");
  expect_has(fails("{\"text\": \"a\", \"id\": 4e444}\n"), "a.jsonl:1: not a JSON object (number overflow parsing '4e444')");
  expect_has(fails("{\"text\": \"a\xff\"}\n"), "ill-formed UTF-8");
  const std::string said = fails("{\"text\": \"" + std::string(3000000, 'q'));
  expect_has(said, "a.jsonl:1: not a JSON object (column 3000011: syntax error");
  EXPECT_LT(said.size(), 300u) << "a message is not as long as the line";
  expect_has(fails("[1]\n"), "a.jsonl:1: not a JSON object");
  expect_has(fails("{\"body\": \"a\"}\n"), "a.jsonl:1: no field \"text\" for the text; --jsonl-field");
  expect_has(fails("{\"text\": 5}\n"), "a.jsonl:1: field \"text\" is no text but of type number; --jsonl-field");
  std::string far;
  for (int i = 0; i < 40000; ++i) far += "{\"text\": \"some text to fill more than a piece\"}\n";
  expect_has(fails(far + "oops\n"), "a.jsonl:40001: not a JSON object");
}

TEST(PrepareErrors, DamagedOrMissingInputs) {
  const Directory scratch;
  const auto fails = [&](const fs::path& input) { return error_of([&] { run(scratch.path / "out", {input}); }); };
  expect_has(fails(scratch.path / "none.txt"), "none.txt");
  expect_has(fails(scratch.path), "s a directory");
  const std::string text = prose(1, 100000), gz = gzipped(scratch.path / "a.gz", text), zst = zstd(text);
  write_bytes(scratch.path / "cut.txt.gz", gz.substr(0, gz.size() / 2));
  write_bytes(scratch.path / "cut.txt.zst", zst.substr(0, zst.size() / 2));
  write_bytes(scratch.path / "no.txt.zst", "this is no zstd data");
  for (const char* name : {"cut.txt.gz", "cut.txt.zst", "no.txt.zst"}) expect_has(fails(scratch.path / name), name);
  write_bytes(scratch.path / "empty.jsonl", "\n\n");
  write_bytes(scratch.path / "empty.txt", "");
  write_bytes(scratch.path / "blank.jsonl", "{\"text\": \"\"}\n");
  for (const char* name : {"empty.jsonl", "empty.txt", "blank.jsonl"}) {
    expect_has(fails(scratch.path / name), "hold no text");
    EXPECT_FALSE(fs::exists(scratch.path / "out/shard_00000.tokens")) << name;
  }
  expect_has(error_of([&] { run(scratch.path / "out", {}); }), "no input files");
  write_bytes(scratch.path / "a.txt", "text");
  for (const double tail : {-0.1, 1.0, std::nan("")})
    expect_has(error_of([&] { run(scratch.path / "out", {scratch.path / "a.txt"}, 1, 1 << 28, tail); }), "validation tail");
}

// As another user, whom the kernel refuses: exit code 4 for what is read.
TEST(PrepareErrors, WhatCannotBeReadIsAnErrorOfTheData) {
  if (getuid() != 0) GTEST_SKIP() << "takes root to become another user";
  const Directory scratch;
  write_bytes(scratch.path / "a.txt", "text");
  const fs::path out = scratch.path / "out", shard = out / "shard_00000.tokens";
  run(out, {scratch.path / "a.txt"});
  const auto fails = [&] {
    EXPECT_EQ(seteuid(65534), 0);
    std::string message = error_of([&] {
      verify_data(out);
      for (const auto& path : list_shards(out)) Shard{path};
    });
    EXPECT_EQ(seteuid(0), 0);
    return message;
  };
  fs::permissions(shard, fs::perms::owner_all);
  expect_has(fails(), "shard_00000.tokens: Permission denied");
  fs::permissions(out / "prepare.json", fs::perms::owner_all);
  expect_has(fails(), "prepare.json: Permission denied");
  fs::permissions(out / "prepare.json", fs::perms::all);
  for (const fs::perms allowed : {fs::perms::none, fs::perms::group_exec | fs::perms::others_exec}) {
    fs::permissions(out, fs::perms::owner_all | allowed);
    expect_has(fails(), "cannot be read: Permission denied");
  }
}

TEST(Prepare, KnowsWhatItMade) {
  const Directory scratch;
  const fs::path a = scratch.path / "a.txt", b = scratch.path / "b.txt", out = scratch.path / "out";
  write_bytes(a, "one"), write_bytes(b, "two");
  EXPECT_FALSE(run(out, {a}).already_prepared);
  const PrepareResult again = run(out, {a});
  EXPECT_TRUE(again.already_prepared);
  EXPECT_EQ(again.tokens, 5);
  expect_has(error_of([&] { run(out, {b}); }), "other inputs or options");
  fs::remove(out / "prepare.json");  // as after a kill: made again
  write_bytes(out / "shard_00007.tokens", "left over");
  EXPECT_FALSE(run(out, {b}).already_prepared);
  EXPECT_EQ(read_all(out).first, document("two"));
}

TEST(Prepare, RemovesOnlyWhatItMade) {
  const Directory scratch;
  const fs::path a = scratch.path / "a.txt", out = scratch.path / "out", other = out / "other.tokens";
  write_bytes(a, "one");
  fs::create_directories(out / "directory.tmp/with_something");
  write_bytes(out / "mine.tmp", "precious"), write_bytes(out / "shard_00000.tokens.tmp", "left over");
  run(out, {a});
  EXPECT_EQ(bytes_of(out / "mine.tmp"), "precious");
  EXPECT_FALSE(fs::exists(out / "shard_00000.tokens.tmp"));
  EXPECT_TRUE(verify_data(out).empty());

  write_bytes(other, "precious");
  for (const bool finished : {true, false}) {
    if (!finished) fs::remove(out / "prepare.json");
    expect_has(error_of([&] { run(out, {a}); }), other.string() + " was not made by drover");
    EXPECT_EQ(bytes_of(other), "precious");
    EXPECT_EQ(fs::exists(out / "prepare.json"), finished);
  }
}

TEST(Prepare, TheSecondOfTwoIsRefused) {
  const Directory scratch;
  const fs::path a = scratch.path / "a.txt", b = scratch.path / "b.txt", out = scratch.path / "out";
  write_bytes(a, "one"), write_bytes(b, "two");
  const auto second = [&](const PrepareProgress&) {
    expect_has(error_of([&] { run(out, {b}); }),
               out.string() + " is being prepared by another process (process " + std::to_string(getpid()) + " on ");
  };
  prepare({.out = out, .inputs = {a}}, second);
  EXPECT_EQ(read_all(out).first, document("one"));
  EXPECT_TRUE(verify_data(out).empty());
  expect_has(error_of([&] { run(out, {b}); }), "other inputs or options");
}

// What is missing or does not open is made again, and no finished mark stands meanwhile.
TEST(Prepare, RepairsWhatDoesNotOpen) {
  const Directory scratch;
  const fs::path a = scratch.path / "a.txt", out = scratch.path / "out";
  write_bytes(a, prose(3, 2500000));
  const auto make = [&] { return run(out, {a}, 2, 600000, 0.4); };
  make();
  const fs::path shard = out / "train/shard_00001.tokens";
  const std::string whole = bytes_of(shard);
  fs::remove(shard);
  expect_has(error_of([&] { verify_data(out / "train"); }), "prepare.json says");
  EXPECT_FALSE(make().already_prepared);
  EXPECT_TRUE(bytes_of(shard) == whole);
  fs::resize_file(shard, 1000);
  EXPECT_FALSE(make().already_prepared);
  EXPECT_TRUE(bytes_of(shard) == whole);
  EXPECT_TRUE(make().already_prepared);

  fs::remove(out / "validation/prepare.json");  // killed between the two
  EXPECT_THROW(prepare({.out = out, .inputs = {a}, .workers = 2, .shard_tokens = 600000, .validation_tail = 0.4},
                       [&](const PrepareProgress& progress) {
                         if (!progress.surveying) throw std::runtime_error("killed");
                       }),
               std::runtime_error);
  expect_has(error_of([&] { list_shards(out / "train"); }), "prepare.json");
  EXPECT_FALSE(make().already_prepared);
  EXPECT_TRUE(verify_data(out / "train").empty() && verify_data(out / "validation").empty());
}

TEST(Prepare, PointsAtTheTwoParts) {
  const Directory scratch;
  write_bytes(scratch.path / "a.txt", prose(3, 5000));
  run(scratch.path / "out", {scratch.path / "a.txt"}, 1, 1 << 28, 0.4);
  expect_has(error_of([&] { inspect_data(scratch.path / "out"); }), "name " + (scratch.path / "out/train").string());
}

TEST(Prepare, ValidationTail) {
  const Directory scratch;
  const fs::path a = scratch.path / "a.txt", b = scratch.path / "b.txt";
  const std::string first = prose(1, 400000), second = prose(2, 2600000);
  write_bytes(a, first), write_bytes(b, second);
  run(scratch.path / "out", {a, b}, 3, 1 << 28, 0.1);
  const auto [train, train_ends] = read_all(scratch.path / "out/train");
  const auto [tail, tail_ends] = read_all(scratch.path / "out/validation");
  const double total = static_cast<double>(first.size() + second.size());
  EXPECT_NEAR(static_cast<double>(tail.size()), 0.1 * total, 200);
  EXPECT_EQ(train_ends, (std::vector<uint64_t>{first.size() + 2, train.size()}));
  EXPECT_EQ(tail_ends, std::vector<uint64_t>{tail.size()});
  EXPECT_EQ(tail.front(), 256) << "begins a document";
  std::vector<int32_t> text(train.begin(), train.end() - 1);
  text.insert(text.end(), tail.begin() + 1, tail.end());
  std::vector<int32_t> expected = document(first), more = document(second);
  expected.insert(expected.end(), more.begin(), more.end());
  EXPECT_TRUE(text == expected) << "nothing is lost, nothing is there twice";
}

// Text without a line break is cut where a piece ends: what follows still begins a document.
TEST(Prepare, ValidationTailOfOneLongLine) {
  const Directory scratch;
  write_bytes(scratch.path / "a.txt", std::string(2500000, 'x'));
  run(scratch.path / "out", {scratch.path / "a.txt"}, 2, 1 << 28, 0.7);
  const auto [tail, ends] = read_all(scratch.path / "out/validation");
  EXPECT_EQ(tail.front(), 256);
  EXPECT_EQ(std::count(tail.begin(), tail.end(), 256), 1);
  EXPECT_EQ(ends, std::vector<uint64_t>{tail.size()});
}

TEST(VerifyData, FindsDamage) {
  const Directory scratch;
  write_bytes(scratch.path / "a.txt", prose(5, 3001));
  run(scratch.path / "out", {scratch.path / "a.txt"}, 1);
  const fs::path shard = scratch.path / "out/shard_00000.tokens";
  const std::string whole = bytes_of(shard);
  EXPECT_TRUE(verify_data(scratch.path / "out").empty());
  const auto problems = [&](const std::string& bytes) {
    write_bytes(shard, bytes);
    std::string all;
    for (const std::string& problem : verify_data(scratch.path / "out")) all += problem + "\n";
    return all;
  };
  for (const size_t at : {size_t{0}, size_t{70}, size_t{255}, size_t{256}, size_t{2000}, whole.size() - 1}) {
    std::string bytes = whole;
    bytes[at] ^= 1;
    expect_has(problems(bytes), "shard_00000.tokens");
  }
  expect_has(problems(whole.substr(0, 1000)), "truncated");
  EXPECT_EQ(problems(whole), "");
  write_shard(shard, {1, 2, 3, 4}, {2, 4});
  expect_has(problems(bytes_of(shard)), "hold 4 tokens in 2 documents, prepare.json says 3003 in 1");
  write_shard(shard, {1}, {1});
  expect_has(problems(bytes_of(shard)), "hold 1 token in 1 document, prepare.json");
  write_shard(shard, {1, 2, 300, 4}, {2, 4});
  expect_has(problems(bytes_of(shard)), "token 300 at index 2");
  write_shard(shard, {1, 2, 3, 4}, {4, 4});
  expect_has(problems(bytes_of(shard)), "document end 1 is out of order");
}

}  // namespace
}  // namespace drover
