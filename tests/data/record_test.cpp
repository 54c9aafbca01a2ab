// Records of JSONL: the same are taken, and the same is said of the others, with simdjson and without.
#include "data/record.h"

#include <gtest/gtest.h>

namespace drover {
namespace {

// The text, or "! why".
std::string read(const std::string& record, bool replace = false) {
  RecordReader reader("text", replace);
  return reader.read(record) ? std::string(reader.text()) : "! " + reader.why();
}

TEST(Record, TextIsFound) {
  EXPECT_EQ(read(R"({"text": "a\n\u00e9\ud83d\udc11\"", "id": 3})"), "a\n\xc3\xa9\xf0\x9f\x90\x91\"");
  EXPECT_EQ(read(R"({"other": {"text": "inner"}, "text": "outer", "more": [{"text": 1}]})"), "outer");
  EXPECT_EQ(read(R"({"text": "first", "text": "last"})"), "last");
  EXPECT_EQ(read(R"({"text": 1, "text": "last"})"), "last");
  EXPECT_EQ(read(R"({"te\u0078t": "escaped name"})"), "escaped name");
  EXPECT_EQ(read("\xef\xbb\xbf{\"text\": \"byte order mark\"}"), "byte order mark");
  EXPECT_EQ(read(R"({"text": "a", "id": 123456789012345678901234567890})"), "a");
  EXPECT_EQ(read("{\"text\": \"deep\", \"x\": " + std::string(3000, '[') + std::string(3000, ']') + "}"), "deep");
  EXPECT_EQ(read(std::string("{\"text\": \"a\\u0000b\"}")), std::string("a\0b", 3));
}

TEST(Record, WhatIsWrongIsSaid) {
  const auto has = [](const std::string& record, const std::string& part) {
    const std::string said = read(record);
    EXPECT_TRUE(said.starts_with("! ") && said.find(part) != std::string::npos) << record << "\n" << said;
  };
  has(R"({"text": "first", "text": 2})", "field \"text\" is no text but of type number");
  has(R"({"text": null})", "of type null");
  has(R"([{"text": "a"}])", "not a JSON object");
  has(R"({"text": "a"} {)", "not a JSON object (column 15");
  has(R"({"text": "a",})", "not a JSON object (column 14");
  has(R"({'text': "a"})", "not a JSON object");
  has("{\"text\": \"a\tb\"}", "not a JSON object");
  has(R"({"text": "a", "id": 4e444})", "number overflow");
  has(R"({"text": "\ud800"})", "surrogate");
  has(R"({"text": "\udc00"})", "surrogate");
  has("{\"text\": \"a\xff\"}", "ill-formed UTF-8 at byte 12 (0xff); --invalid-utf8 replace");
  has("{\"text\": \"a\", \"\xc3\": 1}", "ill-formed UTF-8 at byte 16");
}

TEST(Record, IllFormedUtf8AndLoneSurrogatesAreReplaced) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(read("{\"text\": \"a\xf0\x9f\x90z\xff\"}", true), "a" + r + "z" + r);
  EXPECT_EQ(read(R"({"text": "\ud800"})", true), r);
  EXPECT_EQ(read(R"({"text": "\udc00\ud800\ud83d\udc11\ud800\ud83d\udc11 \ud800x\\ud800 \\\ud800"})", true),
            r + r + "\xf0\x9f\x90\x91" + r + "\xf0\x9f\x90\x91 " + r + "x\\ud800 \\" + r);
  EXPECT_EQ(read(R"({"text": )", true).substr(0, 2), "! ");
}

}  // namespace
}  // namespace drover
