// Preparation of what does not fit one process: units, several processes, stops and what goes on behind them, records that are bad, held out or there twice.
#include "data/prepare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "data/document_hash.h"
#include "data/inspect.h"
#include "data/tokenizer/train.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

using Texts = std::vector<std::string>;

// The documents of a directory, in order.
Texts texts_of(const fs::path& directory) {
  Texts texts;
  for (const fs::path& path : list_shards(directory)) {
    const Shard shard(path);
    for (uint64_t i = 0; i < shard.header().tokens; ++i) {
      const int64_t token = shard.token(static_cast<int64_t>(i));
      if (token == 256) texts.emplace_back();
      if (token < 256) texts.back() += static_cast<char>(token);
    }
  }
  return texts;
}
// Names and bytes of all shards below a directory.
std::map<std::string, std::string> shards_of(const fs::path& directory) {
  std::map<std::string, std::string> shards;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.path().extension() == ".tokens") shards[fs::relative(entry.path(), directory).string()] = bytes_of(entry.path());
  return shards;
}
std::string line(const std::string& text) { return nlohmann::json({{"text", text}}).dump() + "\n"; }

// Files of some hundred documents, plain text among them, with repetitions within and between files.
std::vector<fs::path> corpus(const fs::path& directory, int files = 5) {
  std::mt19937 random(11);
  std::vector<fs::path> paths;
  for (int file = 0; file < files; ++file) {
    std::string content;
    for (int i = 0; i < 300; ++i) {
      const uint32_t number = random() % 900;
      content += line("document " + std::to_string(number) + " " + std::string(number % 400, 'd'));
    }
    paths.push_back(directory / (std::to_string(file) + ".jsonl"));
    write_bytes(paths.back(), content);
    paths.push_back(directory / (std::to_string(file) + ".txt"));
    write_bytes(paths.back(), "plain text " + std::to_string(file / 2) + "\n" + std::string(20000, 'p'));
  }
  return paths;
}

PrepareOptions options_of(const fs::path& out, const std::vector<fs::path>& inputs) {
  PrepareOptions options;
  options.out = out, options.inputs = inputs, options.workers = 2, options.shard_tokens = 30000, options.unit_bytes = 150000;
  return options;
}

TEST(PrepareUnits, HaveShardsOfTheirOwnWhateverTheWorkers) {
  const Directory scratch;
  const std::vector<fs::path> inputs = corpus(scratch.path);
  PrepareOptions options = options_of(scratch.path / "one", inputs);
  options.workers = 1;
  const PrepareResult result = prepare(options, nullptr);
  const auto shards = shards_of(options.out);
  EXPECT_TRUE(shards.contains("unit_00000_shard_00000.tokens") && shards.contains("unit_00002_shard_00001.tokens"));
  EXPECT_TRUE(verify_data(options.out).empty());
  EXPECT_EQ(result.documents, 1505);
  for (const int workers : {2, 7}) {
    PrepareOptions more = options;
    more.workers = workers, more.out = scratch.path / std::to_string(workers);
    prepare(more, nullptr);
    EXPECT_TRUE(shards_of(more.out) == shards);
  }
  PrepareOptions whole = options;
  whole.unit_bytes = kUnitBytes, whole.out = scratch.path / "whole";
  prepare(whole, nullptr);
  EXPECT_TRUE(fs::exists(whole.out / "shard_00000.tokens"));
  EXPECT_TRUE(texts_of(whole.out) == texts_of(options.out));
}

// As ranks do that a launcher started, or people in several terminals.
TEST(PrepareUnits, ProcessesShareTheWork) {
  const Directory scratch;
  PrepareOptions options = options_of(scratch.path / "one", corpus(scratch.path, 8));
  options.deduplicate = true, options.validation_share = 0.1;
  const PrepareResult alone = prepare(options, nullptr);
  const auto shards = shards_of(options.out);
  options.out = scratch.path / "several", options.processes = 3;
  std::array<PrepareResult, 3> results;
  std::array<int64_t, 3> bytes{};
  std::vector<std::thread> processes;
  for (size_t i = 0; i < 3; ++i)
    processes.emplace_back(
        [&, i] { results[i] = prepare(options, [&bytes, i](const PrepareProgress& now) { bytes[i] = now.bytes; }); });
  for (std::thread& process : processes) process.join();
  EXPECT_TRUE(shards_of(options.out) == shards);
  for (const PrepareResult& result : results) {
    EXPECT_EQ(result.documents, alone.documents);
    EXPECT_EQ(result.duplicates, alone.duplicates);
  }
  EXPECT_FALSE(fs::exists(options.out / "prepare.journal"));
  EXPECT_TRUE(verify_data(options.out / "train").empty());
}

// Stopped at every so many pieces, and gone on with: the bytes of an uninterrupted one.
// Longer than a piece: where it was cut, other ids would come out.
TEST(PrepareLongTexts, AreTokenizedWholeWhereWordsReachAcrossCuts) {
  const Directory scratch;
  WordCounts counts;
  counts.add("a b c a b c a b c", 9);
  const BpeTraining training{.vocab = 275, .special = {"<|end_of_text|>"}};
  write_bytes(scratch.path / "tokenizer.json", tokenizer_json(train_bpe(counts, training, {}), training, R"((?:.|\n)+)"));
  const auto tokenizer = make_tokenizer(scratch.path / "tokenizer.json");
  ASSERT_FALSE(tokenizer->splits_at_cuts());
  std::string text;
  while (text.size() < (size_t{5} << 18)) text += "a b c ";
  write_bytes(scratch.path / "a.txt", text);
  PrepareOptions options = options_of(scratch.path / "out", {scratch.path / "a.txt"});
  options.tokenizer = scratch.path / "tokenizer.json";
  options.shard_tokens = 1 << 20, options.unit_bytes = 1 << 28;
  prepare(options, nullptr);
  std::vector<int32_t> expected;
  tokenizer->encode(text, expected);
  expected.push_back(tokenizer->end_document());
  const Shard shard(options.out / "shard_00000.tokens");
  std::vector<int32_t> found(shard.header().tokens);
  shard.read(0, found);
  EXPECT_EQ(found, expected);
}

TEST(PrepareResumes, WhereItWasStopped) {
  const Directory scratch;
  std::string text, lines;
  for (int i = 0; i < 9000; ++i)
    text += "a line of text, number " + std::to_string(i) + (i % 3 == 0 ? "\n" : " and ") + std::string(i % 300, 'z');
  for (int i = 0; i < 9000; ++i)
    lines += i % 1000 == 7 ? "bad\n" : line("document " + std::to_string(i / 3) + std::string(i % 400, 'y'));
  write_bytes(scratch.path / "a.jsonl", lines), write_bytes(scratch.path / "b.txt", text),
      write_bytes(scratch.path / "c.jsonl", lines);
  for (const std::string kind : {"plain", "tail", "share", "deduplicate"}) {
    SCOPED_TRACE(kind);
    PrepareOptions options =
        options_of(scratch.path / kind, {scratch.path / "a.jsonl", scratch.path / "b.txt", scratch.path / "c.jsonl"});
    options.unit_bytes = 4000000, options.max_bad = 100, options.shard_tokens = 70001;
    if (kind == "tail") options.validation_tail = 0.55;
    if (kind == "share") options.validation_share = 0.3;
    if (kind == "deduplicate") options.deduplicate = true;
    const PrepareResult whole = prepare(options, nullptr);
    EXPECT_EQ(whole.bad.count, 18);
    const auto shards = shards_of(options.out);
    ASSERT_GT(shards.size(), 50u);
    options.out = scratch.path / (kind + " stopped");
    int stops = 0, kept = 0;
    for (bool done = false; !done; ++stops) {
      int calls = 0;
      try {
        const PrepareResult result = prepare(options, [&](const PrepareProgress&) {
          if (++calls > 4 + stops) throw std::runtime_error("stopped");
        });
        EXPECT_EQ(result.bad.first, whole.bad.first);
        EXPECT_EQ(result.bad.count, whole.bad.count);
        EXPECT_EQ(result.duplicates, whole.duplicates);
        EXPECT_EQ(result.documents, whole.documents);
        EXPECT_EQ(result.tokens, whole.tokens);
        EXPECT_EQ(result.bytes, whole.bytes);
        done = true;
      } catch (const std::runtime_error& error) {
        if (std::string(error.what()) != "stopped") throw;
        kept += shards_of(options.out).size() > 3 ? 1 : 0;
      }
      ASSERT_LT(stops, 100);
    }
    EXPECT_GT(stops, 4);
    EXPECT_GT(kept, 0);
    EXPECT_TRUE(shards_of(options.out) == shards);
  }
}

TEST(PrepareResumes, OnlyBehindShardsThatAreSound) {
  const Directory scratch;
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += line("document " + std::to_string(i) + std::string(i % 200, 'y'));
  write_bytes(scratch.path / "a.jsonl", lines);
  PrepareOptions options = options_of(scratch.path / "whole", {scratch.path / "a.jsonl"});
  options.shard_tokens = 90000;
  prepare(options, nullptr);
  const auto shards = shards_of(options.out);
  options.out = scratch.path / "out";
  const auto stop_late = [&](const PrepareProgress& now) {
    if (now.tokens > 1500000) throw std::runtime_error("stopped");
  };
  for (int damage = 0; damage < 5; ++damage) {
    SCOPED_TRACE(damage);
    fs::remove_all(options.out);
    EXPECT_THROW(prepare(options, stop_late), std::runtime_error);
    const fs::path shard = options.out / "shard_00011.tokens", journal = options.out / "prepare.journal/unit_00000.shards";
    ASSERT_TRUE(fs::exists(shard));
    if (damage == 0) fs::remove(shard);
    if (damage == 1) fs::resize_file(shard, 500);
    if (damage == 2) write_shard(shard, {256, 1, 257}, {3});
    if (damage == 3) fs::resize_file(journal, fs::file_size(journal) - 10);  // a line that was not finished
    if (damage == 4) fs::rename(shard, options.out / "shard_00099.tokens");
    if (damage == 4) {
      expect_has(error_of([&] { prepare(options, nullptr); }), "holds shards that this prepare did not make");
      fs::remove(options.out / "shard_00099.tokens");
    }
    prepare(options, nullptr);
    EXPECT_TRUE(shards_of(options.out) == shards);
  }
}

TEST(PrepareResumes, WithTheSameInputsAndOptionsOnly) {
  const Directory scratch;
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += line("document " + std::to_string(i) + std::string(i % 200, 'y'));
  write_bytes(scratch.path / "a.jsonl", lines), write_bytes(scratch.path / "b.jsonl", line("b"));
  PrepareOptions options = options_of(scratch.path / "out", {scratch.path / "a.jsonl"});
  EXPECT_THROW(prepare(options,
                       [](const PrepareProgress& now) {
                         if (now.tokens > 1500000) throw std::runtime_error("stopped");
                       }),
               std::runtime_error);
  PrepareOptions other = options;
  other.inputs.push_back(scratch.path / "b.jsonl");
  expect_has(
      error_of([&] { prepare(other, nullptr); }),
      "out holds finished shards of a prepare that was stopped; these are of other inputs or options: give the ones that it had");
  EXPECT_FALSE(prepare(options, nullptr).already_prepared);
}

TEST(PrepareBadRecords, AreCountedListedAndLimited) {
  const Directory scratch;
  std::string lines;
  for (int i = 0; i < 100; ++i) lines += i % 4 == 0 ? "bad\n" : i % 10 == 5 ? "{\"text\": \"\xff\"}\n" : line("good");
  write_bytes(scratch.path / "a.jsonl", lines), write_bytes(scratch.path / "b.jsonl", lines);
  PrepareOptions options = options_of(scratch.path / "out", {scratch.path / "a.jsonl", scratch.path / "b.jsonl"});
  options.unit_bytes = 1000;  // a file a unit
  expect_has(error_of([&] { prepare(options, nullptr); }), ".jsonl:1: not a JSON object (column 1: ");
  options.max_bad = 69;
  const std::string many = error_of([&] { prepare(options, nullptr); });
  expect_has(many, "70 bad records, more than --max-bad 69 allows:\n  "), expect_has(many, ".jsonl:1: not"),
      expect_has(many, "\n  ...");
  EXPECT_EQ(std::count(many.begin(), many.end(), '\n'), 21);
  options.max_bad = 70;
  const PrepareResult result = prepare(options, nullptr);
  EXPECT_EQ(result.bad.count, 70);
  EXPECT_EQ(result.documents, 130);
  ASSERT_EQ(result.bad.first.size(), 20u);
  expect_has(result.bad.first[2], "a.jsonl:6: ill-formed UTF-8 at byte 11");
  const auto json = nlohmann::json::parse(bytes_of(options.out / "prepare.json"));
  EXPECT_EQ(json["bad_records"], 70);
  EXPECT_EQ(json["bad_records_first"].get<Texts>(), result.bad.first);
  write_bytes(scratch.path / "bad.jsonl", "bad\n");
  PrepareOptions nothing = options_of(scratch.path / "nothing", {scratch.path / "bad.jsonl"});
  nothing.max_bad = 1;
  expect_has(error_of([&] { prepare(nothing, nullptr); }), "hold no text; left out, as --max-bad allows: "),
      expect_has(error_of([&] { prepare(nothing, nullptr); }), "bad.jsonl:1: not a JSON object");
  options.replace_ill_formed = true, options.out = scratch.path / "replaced";
  EXPECT_EQ(prepare(options, nullptr).documents, 150);
  EXPECT_EQ(texts_of(options.out)[3], "\xef\xbf\xbd");
}

TEST(PrepareBadRecords, PlainTextMustBeUtf8) {
  const Directory scratch;
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "some text in line " + std::to_string(i) + "\n";
  const size_t bytes = text.size();
  write_bytes(scratch.path / "a.txt", text + "caf\xe9 \n" + text);
  PrepareOptions options = options_of(scratch.path / "out", {scratch.path / "a.txt"});
  options.max_bad = 5;
  expect_has(error_of([&] { prepare(options, nullptr); }),
             "a.txt:100001: ill-formed UTF-8 at byte " + std::to_string(bytes + 4) + " of the file (0xe9)");
  options.replace_ill_formed = true, options.out = scratch.path / "replaced";
  prepare(options, nullptr);
  EXPECT_TRUE(texts_of(options.out) == Texts{text + "caf\xef\xbf\xbd \n" + text});
}

TEST(PrepareValidationShare, StaysWhenInputsComeGoAndMove) {
  const Directory scratch;
  const std::vector<fs::path> inputs = corpus(scratch.path);
  const auto held_out = [&](const char* name, const std::vector<fs::path>& some) {
    PrepareOptions options = options_of(scratch.path / name, some);
    options.validation_share = 0.2;
    prepare(options, nullptr);
    const Texts train = texts_of(options.out / "train"), validation = texts_of(options.out / "validation");
    std::set<std::string> all(validation.begin(), validation.end());
    for (const std::string& text : train) EXPECT_FALSE(all.contains(text));
    for (const std::string& text : validation) EXPECT_LT(document_hash(text).high, UINT64_MAX / 5 + 1);
    EXPECT_NEAR(static_cast<double>(validation.size()) / static_cast<double>(train.size() + validation.size()), 0.2, 0.05);
    return all;
  };
  const auto all = held_out("all", inputs), reversed = held_out("reversed", {inputs.rbegin(), inputs.rend()});
  EXPECT_TRUE(all == reversed);
  for (const std::string& text : held_out("some", {inputs.begin(), inputs.begin() + 4})) EXPECT_TRUE(all.contains(text));
}

TEST(PrepareValidationShare, IsOfADocumentedHash) {  // the value of xxHash's own tests for nothing, high half first
  EXPECT_EQ(document_hash("").high, 0x99aa06d3014798d8u);
  EXPECT_EQ(document_hash("").low, 0x6001c324468d497fu);
  DocumentHashStream stream;
  const std::string text(1000, 'x');
  stream.update("abc"), stream.update(text);
  EXPECT_EQ(stream.digest(), document_hash("abc" + text));
}

TEST(PrepareDeduplicates, TheFirstStays) {
  const Directory scratch;
  const std::vector<fs::path> inputs = corpus(scratch.path);
  PrepareOptions options = options_of(scratch.path / "all", inputs);
  prepare(options, nullptr);
  Texts expected;
  std::set<std::string> seen;
  for (const std::string& text : texts_of(options.out))
    if (seen.insert(text).second) expected.push_back(text);
  for (const int workers : {1, 4}) {
    options.deduplicate = true, options.workers = workers, options.out = scratch.path / ("once" + std::to_string(workers));
    const PrepareResult result = prepare(options, nullptr);
    EXPECT_TRUE(texts_of(options.out) == expected);
    EXPECT_EQ(result.documents, static_cast<int64_t>(expected.size()));
    EXPECT_EQ(result.duplicates, 1505 - result.documents);
    EXPECT_GT(result.duplicates, 100);
  }
}

TEST(PrepareStandardInput, IsReadOnceByOneProcess) {
  const Directory scratch;
  PrepareOptions options = options_of(scratch.path / "out", {"-"});
  options.standard_input_format = "jsonl";
  const auto fails = [&] { return error_of([&] { prepare(options, nullptr); }); };
  options.deduplicate = true;
  expect_has(fails(), "standard input is read once");
  options.deduplicate = false, options.processes = 2;
  expect_has(fails(), "standard input reaches one process, and 2 were started");
}

}  // namespace
}  // namespace drover
