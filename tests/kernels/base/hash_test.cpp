#include "kernels/base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace drover {
namespace {

TEST(Hash, IsXxh3OfTheSpecification) {
  EXPECT_EQ(xxh3(""), 0x2d06800538d394c2u);  // XXH3_64bits of nothing, seed 0 (xxHash's sanity test)
  EXPECT_NE(xxh3("a"), xxh3("b"));
}

TEST(Hash, StreamEqualsOneCallHoweverItIsCut) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 31);
  for (size_t piece : {1u, 7u, 240u, 256u, 1024u, 5000u}) {
    Xxh3Stream stream;
    for (size_t at = 0; at < text.size(); at += piece) stream.update(text.data() + at, std::min(piece, text.size() - at));
    EXPECT_EQ(stream.digest(), xxh3(text)) << piece;
  }
  Xxh3Stream nothing;
  nothing.update(nullptr, 0);
  EXPECT_EQ(nothing.digest(), xxh3(""));
}

// RFC 3720, appendix B.4, and the check value that catalogues of CRCs give.
TEST(Hash, Crc32cOfTheVectors) {
  std::string ascending, descending;
  for (int i = 0; i < 32; ++i) {
    ascending += static_cast<char>(i);
    descending += static_cast<char>(31 - i);
  }
  const auto crc = [](const std::string& text) { return crc32c(text.data(), text.size()); };
  EXPECT_EQ(crc(""), 0u);
  EXPECT_EQ(crc("123456789"), 0xe3069283u);
  EXPECT_EQ(crc(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc(ascending), 0x46dd794eu);
  EXPECT_EQ(crc(descending), 0x113fdb5cu);
}

TEST(Hash, OneFlippedBitShows) {
  std::string text(1000, 'x');
  const uint64_t before = xxh3(text);
  text[777] ^= 4;
  EXPECT_NE(xxh3(text), before);
}

}  // namespace
}  // namespace drover
