// Ranges of flat elements as rectangles, against an element-by-element count.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "trainer/checkpoint/piece.h"

namespace drover {
namespace {

// Global coordinates in the order in which the rectangles list them.
std::vector<std::pair<int64_t, int64_t>> elements(const std::vector<Rectangle>& all) {
  std::vector<std::pair<int64_t, int64_t>> list;
  for (const Rectangle& r : all) {
    const bool matrix = r.extent.rank == 2;
    for (int64_t row = 0; row < (matrix ? r.extent[0] : 1); ++row)
      for (int64_t column = 0; column < r.extent[matrix ? 1 : 0]; ++column)
        list.emplace_back(matrix ? r.offset[0] + row : 0, r.offset[matrix ? 1 : 0] + column);
  }
  return list;
}

TEST(Rectangles, OfMatricesCoverTheRangeInOrder) {
  for (int64_t rows = 1; rows <= 5; ++rows)
    for (int64_t columns = 1; columns <= 5; ++columns)
      for (int64_t begin = 0; begin <= rows * columns; ++begin)
        for (int64_t end = begin; end <= rows * columns; ++end) {
          const auto found = rectangles(begin, end, Shape{rows, columns}, Shape{7, 11});
          std::vector<std::pair<int64_t, int64_t>> expected;
          for (int64_t flat = begin; flat < end; ++flat) expected.emplace_back(7 + flat / columns, 11 + flat % columns);
          ASSERT_EQ(elements(found), expected) << rows << " x " << columns << ", [" << begin << ", " << end << ")";
          ASSERT_LE(found.size(), 3u);
          for (const Rectangle& r : found) {
            ASSERT_GT(r.extent.count(), 0);
            ASSERT_TRUE(r.extent[0] == 1 || r.extent[1] == columns) << "contiguous in memory";
          }
        }
}

TEST(Rectangles, OfVectors) {
  for (int64_t begin = 0; begin <= 6; ++begin)
    for (int64_t end = begin; end <= 6; ++end) {
      const auto found = rectangles(begin, end, Shape{6}, Shape{3});
      if (begin == end)
        ASSERT_TRUE(found.empty());
      else
        ASSERT_EQ(found, (std::vector<Rectangle>{{Shape{3 + begin}, Shape{end - begin}}}));
    }
}

TEST(Rectangles, OfHigherRanksAreRefused) { EXPECT_THROW(rectangles(0, 1, Shape{1, 1, 1}, Shape{0, 0, 0}), Error); }

}  // namespace
}  // namespace drover
