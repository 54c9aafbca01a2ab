#include "data/tokenizer/normalize.h"

#include <gtest/gtest.h>

namespace drover {
namespace {

std::string form_c(const std::string& text) {
  static const FormC form;
  std::string changed;
  return std::string(form.normalize(text, changed));
}

// Unicode's annex 15, figures 3 to 6, and the Standard's chapter 3.12. All code points are compared with `tokenizers` in tests/oracle.
TEST(FormC, ComposesReordersAndLeavesAlone) {
  EXPECT_EQ(form_c("plain, é and 中文"), "plain, é and 中文");
  EXPECT_EQ(form_c("A\u030Angstr\u00F6m \u212B"), "\u00C5ngstr\u00F6m \u00C5");  // the angstrom sign is a singleton
  EXPECT_EQ(form_c("s\u0307\u0323"), "\u1E69");                                  // reordered, then composed twice
  EXPECT_EQ(form_c("\u1E0B\u0323"), "\u1E0D\u0307");
  EXPECT_EQ(form_c("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(form_c("a\u0315\u0300\u05AE\u0300b"),
            "\u00E0\u05AE\u0300\u0315"
            "b");
  EXPECT_EQ(form_c("\u0915\u093C"), "\u0915\u093C");  // excluded from composition
  EXPECT_EQ(form_c("\u0958"), "\u0915\u093C");
  EXPECT_EQ(form_c("\u1100\u1161\u11A8 \uAC00\u11A8 \u1100\u1161"), "\uAC01 \uAC01 \uAC00");
  EXPECT_EQ(form_c("\uFB01 \u2460"), "\uFB01 \u2460");  // compatibility characters stay
  EXPECT_EQ(form_c("\u0301a\u0301"), "\u0301\u00E1");   // a mark without a base
}

TEST(FormC, BytesThatAreNoTextStay) {
  EXPECT_EQ(form_c("\xFF"
                   "e\u0301\xC3\xED\xA0\x80"),
            "\xFF\u00E9\xC3\xED\xA0\x80");
  for (const char byte : {'\xFF', '\x80', '\xC1'}) {
    const std::string text = std::string(1, byte) + "\u0301" + byte;
    EXPECT_EQ(form_c(text), text);
  }
}

}  // namespace
}  // namespace drover
