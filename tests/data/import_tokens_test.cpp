// What becomes of other programs' token files, what is refused and where. tests/oracle/token_files_oracle.py asks those programs themselves.
#include <gtest/gtest.h>

#include "tests/data/token_files.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

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

}  // namespace
}  // namespace drover
