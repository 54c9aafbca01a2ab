// Matrices as the products see them: with strides, so that a transposed one and a block of one are matrices too.
#pragma once
#include "kernels/view.h"

namespace drover::cpu {

// A matrix, or a block of one, with the strides of its rows and columns in elements; one of them is 1. A transposed matrix is one whose rows
// lie side by side.
struct Matrix {
  std::byte* data;
  DType dtype;
  int64_t rows, columns, row_stride, column_stride;

  Matrix block(int64_t row, int64_t height, int64_t column, int64_t width) const {
    return {data + (row * row_stride + column * column_stride) * size_of(dtype), dtype, height, width, row_stride, column_stride};
  }
  Matrix transposed() const { return {data, dtype, columns, rows, column_stride, row_stride}; }
};

inline Matrix matrix_of(ConstTensorView x, bool transposed) {
  const Matrix stored{const_cast<std::byte*>(x.data), x.dtype, x.shape[0], x.shape[1], x.shape[1], 1};
  return transposed ? stored.transposed() : stored;
}

}  // namespace drover::cpu
