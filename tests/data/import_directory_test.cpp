// What import-tokens is told, what it writes down, a second run, and shards that are used in place.
#include <gtest/gtest.h>

#include <chrono>

#include "data/dataset.h"
#include "tests/data/token_files.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

TEST_F(TokenFiles, OptionsThatDoNotGoTogether) {
  write_bytes(at("a.npy"), raw(std::vector<uint16_t>{1, 2}));
  Megatron().write(at("m"));
  const auto expect = [&](const std::string& format, const auto& change, const std::string& says) {
    ImportOptions all = options(format, {format == "megatron" ? "m" : "a.npy"});
    change(all);
    try {
      import_tokens(all, {});
      ADD_FAILURE() << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::config);
      expect_has(error.what(), says);
    }
    EXPECT_FALSE(fs::exists(all.out)) << says;
  };
  expect(
      "numpy", [](ImportOptions& all) { all.dtype = "uint16"; }, "does not say where documents end");
  expect(
      "numpy", [](ImportOptions& all) { all.whole_files = true; }, "no header of numpy's");
  expect(
      "numpy", [](ImportOptions& all) { all.dtype = "float"; }, "uint8, int8, uint16");
  expect(
      "numpy", [](ImportOptions& all) { all.end_token = 100; }, "--end-token 100 is outside the vocabulary of 100");
  expect(
      "numpy", [](ImportOptions& all) { all.end_token = 1, all.whole_files = true; }, "exclude each other");
  expect(
      "numpy", [](ImportOptions& all) { all.dtype = "uint8", all.whole_files = all.in_place = true; }, "--in-place takes 2 or 4");
  expect(
      "numpy", [](ImportOptions& all) { all.tokenizer = "bytes"; }, "one of --tokenizer");
  expect(
      "numpy", [](ImportOptions& all) { all.vocab = 0; }, "one of --tokenizer");
  expect(
      "megatron", [](ImportOptions& all) { all.end_token = 1; }, "says where documents end");
  expect(
      "megatron", [](ImportOptions& all) { all.dtype = "uint16"; }, "those of megatron do");
}

TEST_F(TokenFiles, TheTokenizerIsWrittenDown) {
  Megatron().write(at("a"));
  ImportOptions all = options("megatron", {"a"});
  import(all);
  EXPECT_EQ(Shard(at("out/shard_00000.tokens")).header().tokenizer, "unknown");
  EXPECT_EQ(Shard(at("out/shard_00000.tokens")).header().width, 2u);
  expect_has(inspect_data(at("out")), "tokens 1 2 3");
  all.vocab = 0;
  all.tokenizer = "bytes";
  import(all);
  EXPECT_EQ(Shard(at("out/shard_00000.tokens")).header().tokenizer, "bytes");
  EXPECT_EQ(Shard(at("out/shard_00000.tokens")).header().vocab, 258u);
  all.tokenizer.clear();
  all.vocab = 65537;
  import(all);
  EXPECT_EQ(Shard(at("out/shard_00000.tokens")).header().width, 4u);
}

TEST_F(TokenFiles, ASecondRunDoesNothing) {
  Megatron().write(at("a"));
  const ImportOptions all = options("megatron", {"a"});
  import(all);
  const auto written = fs::last_write_time(at("out/shard_00000.tokens"));
  EXPECT_TRUE(import_tokens(all, {}).already_imported);
  EXPECT_EQ(fs::last_write_time(at("out/shard_00000.tokens")), written);
  fs::remove(at("out/shard_00000.tokens"));
  EXPECT_FALSE(import_tokens(all, {}).already_imported);
  ImportOptions other = all;
  other.vocab = 50;
  expect_has(error_of([&] { import_tokens(other, {}); }), "already holds shards of other inputs");
  Megatron file;
  file.tokens[0] = 50;
  file.write(at("a"));
  expect_has(error_of([&] { import_tokens(all, {}); }), "already holds shards of other inputs");
  write_bytes(at("out/other.tokens"), "");
  fs::remove(at("out/prepare.json"));
  expect_has(error_of([&] { import_tokens(all, {}); }), "other.tokens was not made by drover");
}

TEST_F(TokenFiles, AStoppedPrepareIsNotOverwritten) {
  Megatron().write(at("m"));
  fs::create_directories(at("out/prepare.journal"));
  write_shard(at("out/unit_00000_shard_00000.tokens"), {1, 2, 3}, {3});
  expect_has(error_of([&] { import_tokens(options("megatron", {"m"}), {}); }), "holds what a prepare that was stopped has made");
  EXPECT_TRUE(fs::exists(at("out/unit_00000_shard_00000.tokens")));
}

TEST_F(TokenFiles, AnInterruptedImportIsNotFinished) {
  const std::vector<int32_t> many(600000, 7);
  write_bytes(at("a.npy"), raw(std::vector<uint16_t>(many.begin(), many.end())));
  ImportOptions all = options("numpy", {"a.npy"});
  all.dtype = "uint16", all.whole_files = true, all.shard_tokens = 200000;
  EXPECT_THROW(import_tokens(all,
                             [](const fs::path&, int64_t tokens) {
                               if (tokens > 300000) throw std::runtime_error("killed");
                             }),
               std::runtime_error);
  EXPECT_TRUE(fs::exists(at("out/shard_00000.tokens")));
  EXPECT_FALSE(fs::exists(at("out/prepare.json")));
  for (const auto& entry : fs::directory_iterator(at("out"))) EXPECT_NE(entry.path().extension(), ".tmp");
  expect_has(error_of([&] { TokenDataset({at("out").string()}, 8, 100); }), "not finished");
  all.shard_tokens = 600000;
  EXPECT_EQ(import_tokens(all, {}).tokens, 600000);
  EXPECT_EQ(list_shards(at("out")).size(), 1u) << "what was left over would be read";
}

// In place: the same samples, and the foreign file as it was.
TEST_F(TokenFiles, InPlaceIsAsCopied) {
  Megatron().write(at("m"));
  write_bytes(at("l.bin"), llmc(20240801, 7, 9, raw(std::vector<uint32_t>{9, 1, 2, 9, 3, 4, 5, 6, 7})));
  write_bytes(at("n.npy"), npy("{'descr': '<i2', 'fortran_order': False, 'shape': (9,), }", raw(std::vector<int16_t>(9, 3))));
  for (const auto& [format, name] : {std::pair{"megatron", "m"}, {"llm.c", "l.bin"}, {"numpy", "n.npy"}}) {
    ImportOptions all = options(format, {name});
    if (std::string(format) != "megatron") all.end_token = 9;
    const Imported copied = import(all);
    all.in_place = true;
    const Imported referred = import(all);
    EXPECT_EQ(copied.tokens, referred.tokens) << format;
    EXPECT_EQ(copied.ends, referred.ends) << format;
    EXPECT_LT(fs::file_size(at("out/shard_00000.tokens")), 256u + 200u);
    const TokenDataset dataset({at("out").string()}, 4, 100);
    Buffers buffers;
    const Batch batch = buffers.make(1, 4)[0];
    dataset.read(1, true, batch, 0);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(batch.target.as<int32_t>()[i], copied.tokens[static_cast<size_t>(5 + i)]) << format;
    expect_has(inspect_data(at("out")), "refers to   " + at(std::string(format) == "megatron" ? "m.bin" : name).string());
  }
}

TEST_F(TokenFiles, InPlaceRefusesAFileThatChanged) {
  Megatron().write(at("m"));
  ImportOptions all = options("megatron", {"m"});
  all.in_place = true;
  import(all);
  const auto open = [&] { return error_of([&] { TokenDataset({at("out").string()}, 4, 100); }); };
  const auto written = fs::last_write_time(at("m.bin"));
  fs::last_write_time(at("m.bin"), written + std::chrono::seconds(1));
  for (const char* part : {"m.bin has changed since token shard", "shard_00000.tokens", "drover import-tokens"})
    expect_has(open(), part);
  fs::last_write_time(at("m.bin"), written);
  EXPECT_NO_THROW(TokenDataset({at("out").string()}, 4, 100));
  std::string bytes = bytes_of(at("m.bin"));
  bytes[4] ^= 1;  // with the time of before: only the checksum knows
  write_bytes(at("m.bin"), bytes);
  fs::last_write_time(at("m.bin"), written);
  ASSERT_EQ(verify_data(at("out")).size(), 1u);
  expect_has(verify_data(at("out"))[0], "m.bin: import that again");
  write_bytes(at("m.bin"), bytes + "12");
  expect_has(open(), "20 bytes of time");
  fs::remove(at("m.bin"));
  expect_has(open(), "m.bin: No such file");
}

TEST_F(TokenFiles, InPlaceReferencesAreChecked) {
  Megatron().write(at("m"));
  ImportOptions all = options("megatron", {"m"});
  all.in_place = true;
  import(all);
  const fs::path shard = at("out/shard_00000.tokens");
  const std::string whole = bytes_of(shard);
  const auto expect = [&](const std::string& bytes, const std::string& says) {
    write_bytes(shard, bytes);
    expect_has(error_of([&] { Shard{shard}; }), says);
  };
  std::string bytes = whole;
  bytes[130] ^= 1;
  expect(bytes, "the header's checksum");
  bytes = whole;
  bytes[260] ^= 1;
  expect(bytes, "the checksum of the path");
  expect(whole.substr(0, 258), "the path of its tokens is cut off");
  expect(whole.substr(0, whole.size() - 8), "truncated or extended");
}

}  // namespace
}  // namespace drover
