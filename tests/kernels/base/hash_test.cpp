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

TEST(Hash, OneFlippedBitShows) {
  std::string text(1000, 'x');
  const uint64_t before = xxh3(text);
  text[777] ^= 4;
  EXPECT_NE(xxh3(text), before);
}

}  // namespace
}  // namespace drover
