// Pieces of files: whole, cut where they may be, and the same from any of them on.
#include "data/text_source.h"

#include <zlib.h>

#include <random>

#include "data/utf8.h"
#include "tests/data/testing.h"

namespace drover {
namespace {

using namespace data_testing;  // NOLINT: the tests' own vocabulary

constexpr TextLimits kSmall{.piece = 1000, .stretch = 64000, .line = 256000};

std::vector<TextPiece> pieces_of(const std::vector<Input>& inputs, TextPlace from = {}) {
  TextReader reader(inputs, "text", from, kSmall);
  std::vector<TextPiece> pieces;
  for (TextPiece piece; reader.next(piece);) pieces.push_back(piece);
  return pieces;
}

// Words with few safe places among much white space, so that cuts come near the places where buffers end.
std::string spaced(uint64_t seed, size_t bytes) {
  std::mt19937_64 random(seed);
  const std::string parts[] = {"word", "\n", " ", "\xe3\x80\x80", "\xc2\xa0", "/", "\n\n", "\xe4\xb8\xad", "\t"};
  std::string text;
  while (text.size() < bytes) text += parts[random() % std::size(parts)];
  return text;
}

TEST(TextReader, CutsWhereItMayAndLosesNothing) {
  const Directory scratch;
  for (const uint64_t seed : {1, 2, 3}) {
    const std::string text = spaced(seed, 70000 + seed);
    write_bytes(scratch.path / "a.txt", text);
    std::string joined;
    for (const TextPiece& piece : pieces_of(find_inputs({{scratch.path / "a.txt"}, ""}))) {
      EXPECT_EQ(piece.begins_document, joined.empty());
      EXPECT_TRUE(joined.empty() || may_cut(text, joined.size())) << joined.size();
      EXPECT_LE(piece.text.size(), kSmall.piece);
      joined += piece.text;
      EXPECT_EQ(piece.ends_document, joined.size() == text.size());
    }
    EXPECT_TRUE(joined == text);
  }
}

TEST(TextReader, LeavesTextsWholeForTokenizersThatWouldNoticeACut) {
  const Directory scratch;
  TextLimits limits = kSmall;
  limits.cuts = false;
  write_bytes(scratch.path / "a.txt", spaced(1, 60000));
  TextReader reader(find_inputs({{scratch.path / "a.txt"}, ""}), "text", {}, limits);
  TextPiece piece;
  ASSERT_TRUE(reader.next(piece));
  EXPECT_EQ(piece.text, spaced(1, 60000));
  EXPECT_TRUE(piece.begins_document && piece.ends_document);
  EXPECT_FALSE(reader.next(piece));
  write_bytes(scratch.path / "long.txt", spaced(1, 200000));
  TextReader too_long(find_inputs({{scratch.path / "long.txt"}, ""}), "text", {}, limits);
  expect_has(error_of([&] { too_long.next(piece); }), "long.txt: is longer than 64000 bytes, and this tokenizer's words may reach");
}

TEST(TextReader, FromAnyPieceOnTheSameFollow) {
  const Directory scratch;
  std::string lines;
  for (int i = 0; i < 600; ++i) lines += "{\"text\": \"" + std::string(static_cast<size_t>(i * 37 % 101), 'z') + "\"}\n";
  lines += "{\"text\": \"" + std::string(22000, 'q') + "\"}\n{}";
  write_bytes(scratch.path / "a.txt", spaced(9, 30000)), write_bytes(scratch.path / "c.jsonl", lines);
  const gzFile file = gzopen((scratch.path / "b.txt.gz").c_str(), "wb");
  const std::string text = spaced(4, 25000) + std::string(15000, 'x') + spaced(5, 3000);
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  const std::vector<Input> inputs =
      find_inputs({{scratch.path / "a.txt", scratch.path / "b.txt.gz", scratch.path / "c.jsonl"}, ""});
  const std::vector<TextPiece> all = pieces_of(inputs);
  ASSERT_GT(all.size(), 10u);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<TextPiece> later = pieces_of(inputs, all[i].place);
    ASSERT_EQ(later.size(), all.size() - i);
    for (size_t k = 0; k < later.size(); ++k) {
      EXPECT_TRUE(later[k].text == all[i + k].text && later[k].path == all[i + k].path);
      EXPECT_EQ(later[k].place.line, all[i + k].place.line);
      EXPECT_EQ(later[k].place.bytes, all[i + k].place.bytes);
      EXPECT_EQ(later[k].begins_document, all[i + k].begins_document);
      EXPECT_EQ(later[k].ends_document, all[i + k].ends_document);
    }
  }
}

TEST(TextReader, ALongStretchWithoutAPlaceIsRefused) {
  const Directory scratch;
  const auto read = [&](const char* name, const std::string& text) {
    write_bytes(scratch.path / name, text);
    return pieces_of(find_inputs({{scratch.path / name}, ""})).size();
  };
  EXPECT_EQ(read("short.txt", "begins here " + std::string(60000, '\n')), 2u);
  const std::string message = error_of([&] { read("long.txt", "begins here " + std::string(100000, '\n')); });
  expect_has(message, "long.txt: 64000 bytes from byte 11 on have no place"), expect_has(message, "Put line breaks into it");
  EXPECT_EQ(read("short.jsonl", std::string(255000, ' ')), 1u);
  expect_has(error_of([&] { read("array.jsonl", "{}\n" + std::string(400000, ' ')); }),
             "array.jsonl: line 2 (at byte 3) is longer than 256000 bytes; JSONL has a record a line");
}

TEST(Inputs, PatternsAreExpandedInOrder) {
  const Directory scratch;
  for (const char* name : {"b.txt", "a.txt", "c.jsonl", "[x].txt"}) write_bytes(scratch.path / name, "text");
  const std::vector<Input> found = find_inputs({{scratch.path / "c.jsonl", scratch.path / "?.txt", scratch.path / "[x].txt"}, ""});
  std::string names;
  for (const Input& input : found) names += input.path.filename().string() + " ";
  EXPECT_EQ(names, "c.jsonl a.txt b.txt [x].txt ") << "a name that is a file's is no pattern";
  EXPECT_EQ(found[0].format, InputFormat::jsonl);
  EXPECT_EQ(found[1].bytes, 4);
  const auto fails = [&](const fs::path& name, const std::string& format = "") {
    return error_of([&] { find_inputs({{scratch.path / "a.txt", name}, format}); });
  };
  expect_has(fails(scratch.path / "*.gz"), "*.gz: no file matches this pattern");
  expect_has(fails(scratch.path), scratch.path.string() +
                                      ": is a directory; name the files in it, or a pattern in quotes, for example \"" +
                                      scratch.path.string() + "/*.jsonl.gz\"");
  expect_has(fails("-", "text"), "standard input comes alone");
  expect_has(error_of([&] { find_inputs({{"-"}, ""}); }), "--input-format text|jsonl");
  expect_has(fails("/dev/null"), "/dev/null: is no regular file; give it as standard input");
}

TEST(Inputs, UnitsAreAFunctionOfSizes) {
  const auto units = [](const std::vector<int64_t>& sizes) {
    std::vector<Input> inputs;
    inputs.reserve(sizes.size());
    for (const int64_t size : sizes) inputs.push_back({.path = "x", .bytes = size});
    std::string text;
    for (const InputRange& unit : divide_into_units(inputs, 10))
      text += std::to_string(unit.begin) + "-" + std::to_string(unit.end) + " ";
    return text;
  };
  EXPECT_EQ(units({3, 3, 4, 1, 30, 1, 1}), "0-3 3-4 4-5 5-7 ");
  EXPECT_EQ(units({30}), "0-1 ");
  EXPECT_EQ(units({0, 0, 0}), "0-3 ");
}

}  // namespace
}  // namespace drover
