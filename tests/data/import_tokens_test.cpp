// Token files of other programs, made here byte by byte by the formats' own documents: what becomes of them, what is refused and where, and
// what is exported. tests/oracle/token_files_oracle.py asks those programs themselves.
#include "data/import_tokens.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "data/dataset.h"
#include "data/export_tokens.h"
#include "data/inspect.h"
#include "tests/data/testing.h"
#include "tests/file_trace.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

template <class Value> std::string raw(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}
template <class Value> std::string raw(Value value) { return raw(std::vector<Value>{value}); }

struct Megatron {
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths{3, 2, 0, 4};
  std::vector<int64_t> marks{0, 2, 3, 4};
  std::string tokens = raw<uint16_t>(std::vector<uint16_t>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  int64_t width = 2;

  std::string index() const {
    std::vector<int64_t> places;
    int64_t place = 0;
    for (const int32_t length : lengths) places.push_back(place), place += length * width;
    return std::string("MMIDIDX\0\0", 9) + raw(version) + raw(type) + raw<uint64_t>(lengths.size()) + raw<uint64_t>(marks.size()) +
           raw(lengths) + raw(places) + raw(marks);
  }
  void write(const fs::path& prefix) const {
    write_bytes(prefix.string() + ".idx", index());
    write_bytes(prefix.string() + ".bin", tokens);
  }
};

std::string llmc(int32_t magic, int32_t version, int32_t tokens, const std::string& payload) {
  std::vector<int32_t> header(256, 0);
  header[0] = magic, header[1] = version, header[2] = tokens;
  return raw(header) + payload;
}

std::string npy(const std::string& header, const std::string& payload) {
  return "\x93NUMPY" + std::string("\x01\x00", 2) + raw(static_cast<uint16_t>(header.size())) + header + payload;
}

struct Imported {
  std::vector<int32_t> tokens;
  std::vector<uint64_t> ends;
};
Imported read_all(const fs::path& directory) {
  Imported all;
  for (const fs::path& path : list_shards(directory)) {
    const Shard shard(path);
    const size_t before = all.tokens.size();
    for (const uint64_t end : shard.ends()) all.ends.push_back(before + end);
    all.tokens.resize(before + shard.header().tokens);
    shard.read(0, std::span(all.tokens).subspan(before));
    EXPECT_EQ(shard.compute_payload_hash(), shard.header().payload_hash);
  }
  return all;
}

std::vector<int32_t> count_to(int32_t last) {
  std::vector<int32_t> numbers;
  for (int32_t i = 1; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

struct TokenFiles : ::testing::Test {
  fs::path at(const std::string& name) const { return scratch.path / name; }
  ImportOptions options(const std::string& format, const std::vector<std::string>& names) const {
    ImportOptions all{.format = format, .out = at("out"), .vocab = 100};
    for (const std::string& name : names) all.inputs.push_back(at(name));
    return all;
  }
  Imported import(const ImportOptions& all) const {
    fs::remove_all(all.out);
    const ImportResult result = import_tokens(all, {});
    Imported found = read_all(all.out);
    EXPECT_EQ(result.tokens, std::ssize(found.tokens));
    EXPECT_EQ(result.documents, std::ssize(found.ends));
    EXPECT_TRUE(verify_data(all.out).empty());
    return found;
  }
  // Refused as an error of the data, with nothing that training would read.
  void expect_refused(const ImportOptions& all, const std::string& name, const std::string& says) const {
    fs::remove_all(all.out);
    const std::string message = error_of([&] { import_tokens(all, {}); });
    expect_has(message, name);
    expect_has(message, says);
    EXPECT_FALSE(fs::exists(all.out / "prepare.json"));
  }
  const Directory scratch;
};

using Ends = std::vector<uint64_t>;

TEST_F(TokenFiles, MegatronDocumentsAreRunsOfSequences) {
  Megatron().write(at("a"));
  for (const char* name : {"a", "a.bin", "a.idx"}) {
    const Imported found = import(options("megatron", {name}));
    EXPECT_EQ(found.tokens, count_to(9));
    EXPECT_EQ(found.ends, (Ends{5, 9})) << "a document of no tokens is none";
  }
}

TEST_F(TokenFiles, MegatronTypesOfWholeNumbers) {
  const auto write = [&](uint8_t type, int64_t width, const std::string& tokens) {
    Megatron file;
    file.type = type, file.width = width, file.tokens = tokens;
    file.write(at("a"));
    EXPECT_EQ(import(options("megatron", {"a"})).tokens, count_to(9)) << static_cast<int>(type);
  };
  const std::vector<int32_t> all = count_to(9);
  write(1, 1, raw(std::vector<uint8_t>(all.begin(), all.end())));
  write(2, 1, raw(std::vector<int8_t>(all.begin(), all.end())));
  write(3, 2, raw(std::vector<int16_t>(all.begin(), all.end())));
  write(4, 4, raw(std::vector<int32_t>(all.begin(), all.end())));
  write(5, 8, raw(std::vector<int64_t>(all.begin(), all.end())));
  write(8, 2, raw(std::vector<uint16_t>(all.begin(), all.end())));
}

TEST_F(TokenFiles, MegatronWhatIsBehindTheLastMarkIsADocument) {
  Megatron file;
  file.marks = {0, 1};
  file.write(at("a"));
  EXPECT_EQ(import(options("megatron", {"a"})).ends, (Ends{3, 9}));
}

TEST_F(TokenFiles, MegatronRefusals) {
  const auto expect = [&](const std::string& says, const auto& change, const std::string& name = "a.idx") {
    Megatron file;
    change(file);
    file.write(at("a"));
    expect_refused(options("megatron", {"a"}), name, says);
  };
  expect("at byte 9: version 2", [](Megatron& file) { file.version = 2; });
  expect("at byte 17: type 7 is of floating-point", [](Megatron& file) { file.type = 7; });
  expect("at byte 17: type 9", [](Megatron& file) { file.type = 9; });
  expect("at byte 98: document mark 5; they ascend from 0 to at most 4", [](Megatron& file) { file.marks = {0, 2, 5, 4}; });
  expect("document mark 1", [](Megatron& file) { file.marks = {1, 4}; });
  expect(
      "a.bin: 18 bytes, its index", [](Megatron& file) { file.lengths[3] = 5; }, "a.bin");
  expect(
      "a.bin: 17 bytes", [](Megatron& file) { file.tokens.pop_back(); }, "a.bin");
  expect("a sequence of -2 tokens", [](Megatron& file) { file.lengths[1] = -2; });
  expect(
      "a.bin: at byte 16: token 100 at index 8 is outside the vocabulary of 100", [](Megatron& file) { file.tokens[16] = 100; },
      "a.bin");
  expect(
      "a.bin: at byte 2: token -2 at index 1", [](Megatron& file) { file.type = 3, file.tokens.replace(2, 2, "\xfe\xff"); },
      "a.bin");

  const std::string whole = Megatron().index();
  const auto expect_bytes = [&](const std::string& index, const std::string& says) {
    write_bytes(at("a.idx"), index);
    expect_refused(options("megatron", {"a"}), "a.idx", says);
  };
  Megatron().write(at("a"));
  expect_bytes(whole.substr(0, 20), "at byte 20: cut short");
  expect_bytes("X" + whole.substr(1), "at byte 0: not an index");
  expect_bytes(whole.substr(0, whole.size() - 1),
               "4 sequences and 4 document marks take 114 bytes with their header, the file has 113");
  expect_bytes(whole + "12", "the file has 116");
  expect_bytes(whole + "1234", "modes of 4 sequences: multimodal");
  std::string gap = whole;
  gap[34 + 16 + 8] = 7;  // where sequence 1 begins
  expect_bytes(gap, "at byte 58: sequence 1 begins at byte 7 of the tokens, those before it end at 6");
  fs::remove(at("a.bin"));
  expect_refused(options("megatron", {"a"}), "a.bin", "No such file");
}

TEST_F(TokenFiles, LlmcOfBothKinds) {
  const std::vector<uint16_t> narrow{9, 1, 2, 9, 3};
  write_bytes(at("a.bin"), llmc(20240520, 1, 5, raw(narrow)));
  write_bytes(at("b.bin"), llmc(20240801, 7, 3, raw(std::vector<uint32_t>{4, 9, 5})));
  ImportOptions all = options("llm.c", {"a.bin", "b.bin"});
  all.begin_token = 9;
  Imported found = import(all);
  EXPECT_EQ(found.tokens, (std::vector<int32_t>{9, 1, 2, 9, 3, 4, 9, 5}));
  EXPECT_EQ(found.ends, (Ends{3, 5, 6, 8}));
  all.begin_token.reset();
  all.end_token = 9;
  EXPECT_EQ(import(all).ends, (Ends{1, 4, 5, 7, 8}));
  all.end_token.reset();
  all.whole_files = true;
  EXPECT_EQ(import(all).ends, (Ends{5, 8}));
  all.shard_tokens = 3;  // documents go on in the next shard
  found = import(all);
  EXPECT_EQ(found.ends, (Ends{5, 8}));
  EXPECT_EQ(list_shards(all.out).size(), 3u);
}

TEST_F(TokenFiles, LlmcRefusals) {
  ImportOptions all = options("llm.c", {"a.bin"});
  all.whole_files = true;
  const std::string two = raw(std::vector<uint16_t>{1, 2});
  const auto expect = [&](const std::string& bytes, const std::string& says) {
    write_bytes(at("a.bin"), bytes);
    expect_refused(all, "a.bin", says);
  };
  expect("short", "at byte 5: cut short");
  expect(llmc(20240521, 1, 2, two), "at byte 0: not llm.c's: 20240521");
  expect(llmc(20240522, 1, 2, two), "evaluation data");
  expect(llmc(20240520, 7, 2, two), "at byte 4: version 7");
  expect(llmc(20240801, 1, 2, two), "at byte 4: version 1");
  expect(llmc(20240520, 1, 3, two), "at byte 8: 3 tokens of 2 bytes take 1030 bytes with their header, the file has 1028");
  expect(llmc(20240520, 1, 2, two + "x"), "the file has 1029");
  expect(llmc(20240520, 1, -2, two), "-2 tokens");
  expect(llmc(20240520, 1, 2, raw(std::vector<uint16_t>{1, 100})), "at byte 1026: token 100 at index 1");
}

TEST_F(TokenFiles, NumpyWithAndWithoutItsHeader) {
  ImportOptions all = options("numpy", {"a.npy"});
  all.end_token = 4;
  const std::vector<int32_t> expected = count_to(9);
  write_bytes(at("a.npy"), npy("{'descr': '<i8', 'fortran_order': False, 'shape': (9,), }   \n",
                               raw(std::vector<int64_t>(expected.begin(), expected.end()))));
  Imported found = import(all);
  EXPECT_EQ(found.tokens, expected);
  EXPECT_EQ(found.ends, (Ends{4, 9}));
  write_bytes(at("a.npy"), raw(std::vector<uint32_t>(expected.begin(), expected.end())));
  all.dtype = "uint32";
  found = import(all);
  EXPECT_EQ(found.tokens, expected);
  EXPECT_EQ(found.ends, (Ends{4, 9}));
}

TEST_F(TokenFiles, NumpyRefusals) {
  ImportOptions all = options("numpy", {"a.npy"});
  all.whole_files = true;
  const auto expect = [&](const std::string& header, const std::string& payload, const std::string& says) {
    write_bytes(at("a.npy"), npy(header, payload));
    expect_refused(all, "a.npy", says);
  };
  expect("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "1234", "type '<f4'");
  expect("{'descr': '>u2', 'fortran_order': False, 'shape': (1,), }", "12", "type '>u2'");
  expect("{'descr': '<u2', 'fortran_order': True, 'shape': (1,), }", "12", "Fortran");
  expect("{'descr': '<u2', 'fortran_order': False, 'shape': (1, 1), }", "12", "shape (1, 1)");
  expect("{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }", "123", "2 tokens of 2 bytes are to follow, 3 bytes do");
  expect("{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999999999,), }", "12", "shape");
  expect("nothing", "12", "no \"descr\"");
  write_bytes(at("a.npy"), "\x93NUMPY" + std::string("\x01\x00\xff\x00", 4) + "{}");
  expect_refused(all, "a.npy", "at byte 8: a header of 255 bytes: cut short");
  write_bytes(at("a.npy"), "12345");
  all.dtype = "uint16";
  expect_refused(all, "a.npy", "at byte 4: 1 bytes behind the last token");
}

TEST_F(TokenFiles, NanotronDocumentEnds) {
  const std::vector<int32_t> expected = count_to(9);
  write_bytes(at("a.ds"), raw(std::vector<uint16_t>(expected.begin(), expected.end())));
  write_bytes(at("a.ds.index"), raw(std::vector<uint64_t>{0, 4, 4, 9}));
  write_bytes(at("a.ds.metadata"), "gpt2|2\n9\n9 T");
  EXPECT_EQ(import(options("nanotron", {"a.ds"})).ends, (Ends{4, 9}));
  fs::remove(at("a.ds.metadata"));
  const Imported found = import(options("nanotron", {"a.ds"}));
  EXPECT_EQ(found.tokens, expected);
  EXPECT_EQ(found.ends, (Ends{4, 9}));
  write_bytes(at("a.ds"), raw(std::vector<uint32_t>(expected.begin(), expected.end())));
  EXPECT_EQ(import(options("nanotron", {"a.ds"})).tokens, expected);
}

TEST_F(TokenFiles, NanotronRefusals) {
  const std::string tokens = raw(std::vector<uint16_t>{1, 2, 3});
  const auto expect = [&](const std::string& index, const std::string& metadata, const std::string& name, const std::string& says) {
    write_bytes(at("a.ds"), tokens);
    write_bytes(at("a.ds.index"), index);
    write_bytes(at("a.ds.metadata"), metadata);
    expect_refused(options("nanotron", {"a.ds"}), name, says);
  };
  const std::string three = raw(std::vector<uint64_t>{1, 3});
  expect(three.substr(1), "gpt2|2\n3\n", "a.ds.index", "15 bytes: no multiple of 8");
  expect(raw(std::vector<uint64_t>{3, 1}), "gpt2|2\n3\n", "a.ds.index", "at byte 8: document end 1 after 3");
  expect(raw(std::vector<uint64_t>{1, 2}), "gpt2|2\n3\n", "a.ds.index", "the last document ends at token 2");
  expect(three, "gpt2|3\n3\n", "a.ds.metadata", "2 or 4 bytes a token");
  expect(three, "gpt2|2\n4\n", "a.ds.metadata", "4 tokens of 2 bytes");
  expect(three, "", "a.ds.metadata", "not datatrove's metadata");
  fs::remove(at("a.ds.metadata"));
  write_bytes(at("a.ds.index"), raw(std::vector<uint64_t>{2}));
  expect_refused(options("nanotron", {"a.ds"}), "a.ds", "6 bytes, the last document ends at token 2: neither 2 nor 4");
}

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

TEST_F(TokenFiles, ExportedAndImportedAgain) {
  for (const uint32_t width : {2u, 4u}) {
    fs::remove_all(at("data"));
    fs::create_directories(at("data"));
    write_shard(at("data/shard_00000.tokens"), {1, 2, 3, 4, 5}, {2}, 258, width);
    write_shard(at("data/shard_00001.tokens"), {6, 7, 8}, {1}, 258, width);
    mark_prepared(at("data"));
    for (const std::string format : {"megatron", "llm.c"}) {
      const ExportResult result = export_tokens({format, at("e" + format + std::to_string(width)), at("data"), 5});
      EXPECT_EQ(result.tokens, 8);
      EXPECT_EQ(result.documents, 3);
      ImportOptions all = options(format, {});
      all.vocab = 258;
      all.inputs = result.files;
      if (format == "megatron")
        all.inputs.pop_back();
      else
        all.whole_files = true;
      const Imported found = import(all);
      EXPECT_EQ(found.tokens, (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8}));
      EXPECT_EQ(found.ends, format == "megatron" ? (Ends{2, 6, 8}) : (Ends{5, 8}));
      expect_has(error_of([&] {
                   export_tokens({format, at("e" + format + std::to_string(width)), at("data"), 5});
                 }),
                 "is there already");
    }
  }
}

TEST_F(TokenFiles, AnExportThatFailsLeavesNothing) {
  write_shard(at("shard_00000.tokens"), {1, 2, 3, 4, 5}, {5});
  write_shard(at("shard_00001.tokens"), {6, 7, 8, 258}, {4});  // 258 is damage, met when two files are whole
  mark_prepared(scratch.path);
  for (const std::string format : {"megatron", "llm.c"}) {
    expect_has(error_of([&] { export_tokens({format, at("new/e"), scratch.path, 2}); }), "token 258 at index 3");
    EXPECT_TRUE(fs::is_empty(at("new")));
  }
}

TEST_F(TokenFiles, ExportsAreSyncedBeforeTheirNames) {
  write_shard(at("shard_00000.tokens"), {1, 2, 3}, {3});
  mark_prepared(scratch.path);
  const testing::FileTrace trace;
  export_tokens({"megatron", at("e"), scratch.path});
  for (const char* name : {"e.bin", "e.idx"}) trace.expect_synced(at(std::string(name) + ".tmp"), trace.renamed_to(at(name)));
  EXPECT_LT(trace.renamed_to(at("e.bin")), trace.renamed_to(at("e.idx")));
}

}  // namespace
}  // namespace drover
