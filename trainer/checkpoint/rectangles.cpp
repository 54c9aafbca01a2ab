#include "trainer/checkpoint/piece.h"

#include <algorithm>

namespace drover {

std::vector<Rectangle> rectangles(int64_t begin, int64_t end, const Shape& local, const Shape& offset) {
  std::vector<Rectangle> result;
  if (begin >= end) return result;
  if (local.rank == 1) return {{Shape{offset[0] + begin}, Shape{end - begin}}};
  DROVER_CHECK(local.rank == 2, "rectangles of a tensor of shape " + to_string(local));
  const int64_t columns = local[1];
  const auto add = [&](int64_t row, int64_t column, int64_t rows, int64_t width) {
    result.push_back({Shape{offset[0] + row, offset[1] + column}, Shape{rows, width}});
  };
  const int64_t first_row = begin / columns, first_column = begin % columns;
  if (first_column != 0) {
    const int64_t width = std::min(columns - first_column, end - begin);
    add(first_row, first_column, 1, width);
    begin += width;
  }
  if (const int64_t rows = (end - begin) / columns; rows > 0) {
    add(begin / columns, 0, rows, columns);
    begin += rows * columns;
  }
  if (begin < end) add(begin / columns, 0, 1, end - begin);
  return result;
}

}  // namespace drover
