#include "trainer/console.h"

#include <gtest/gtest.h>

namespace drover {
namespace {

// Cells on a terminal: UTF-8 bytes that begin a character.
int64_t cells(const std::string& text) {
  int64_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  return count;
}

TEST(Console, BarNeverFillsTheLine) {
  const std::string text = "step 12/500  loss 2.3456  33147 tokens/s  49 % of GEMM rate  49 s left";
  for (int columns = 1; columns < 200; ++columns)
    for (const int64_t done : {0, 1, 250, 500, 600})
      EXPECT_LE(cells(progress_bar(done, 500, text, columns)), std::max(1, columns - 1)) << columns;
}

TEST(Console, BarGrowsWithTheStepsDone) {
  const auto filled = [](int64_t done) {
    const std::string bar = progress_bar(done, 100, "x", 80);
    int64_t count = 0;
    for (size_t at = bar.find("█"); at != std::string::npos; at = bar.find("█", at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(filled(0), 0);
  EXPECT_EQ(filled(50), 12);
  EXPECT_EQ(filled(100), 24);
}

TEST(Console, Durations) {
  EXPECT_EQ(duration_text(-1), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1 min 00 s");
  EXPECT_EQ(duration_text(200), "3 min 20 s");
  EXPECT_EQ(duration_text(7260), "2 h 01 min");
}

}  // namespace
}  // namespace drover
