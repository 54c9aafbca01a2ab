// Matrix product in plain loops, for machines without a library. Each operand's tile is converted to f32 once, then reused from cache.
#include <algorithm>
#include <array>

#include "kernels/base/threads.h"
#include "kernels/bf16.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/matrix.h"
#include "kernels/cpu/tile.h"

namespace drover::cpu {
namespace {

constexpr int64_t kRows = 32, kColumns = 64, kDepth = 128;

float at(const Matrix& x, int64_t i, int64_t j) {
  const std::byte* element = x.block(i, 1, j, 1).data;
  return x.dtype == DType::f32 ? *reinterpret_cast<const float*>(element)
                               : static_cast<float>(*reinterpret_cast<const Bf16*>(element));
}

void load(float* tile, const Matrix& matrix, int64_t i0, int64_t rows, int64_t j0, int64_t columns, int64_t width) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) tile[i * width + j] = j < columns ? at(matrix, i0 + i, j0 + j) : 0.0f;
}

}  // namespace

void gemm_plain(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta) {
  const int64_t m = c.shape[0], n = c.shape[1], k = a.shape[transpose_a ? 0 : 1];
  const Matrix left = matrix_of(a, transpose_a), right = matrix_of(b, transpose_b);
  const int64_t row_blocks = (m + kRows - 1) / kRows;
  parallel_for(row_blocks, 1, [&](int64_t first, int64_t last) {
    std::array<float, kRows * kDepth> at;
    std::array<float, kDepth * kColumns> bt;
    std::array<float, kRows * kColumns> ct;
    for (int64_t block = first; block < last; ++block)
      for (int64_t j = 0; j < n; j += kColumns) {
        const int64_t i = block * kRows, rows = std::min(kRows, m - i), columns = std::min(kColumns, n - j);
        for (int64_t l = 0; l < k; l += kDepth) {
          const int64_t depth = std::min(kDepth, k - l);
          load(at.data(), left, i, rows, l, depth, kDepth);
          load(bt.data(), right, l, depth, j, columns, kColumns);
          tile_product(ct.data(), kColumns, {at.data(), kDepth, 1}, bt.data(), kColumns, rows, kColumns, depth, l > 0);
        }
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t s = 0; s < columns; ++s) {
            const int64_t place = (i + r) * n + j + s;
            const float sum = ct[static_cast<size_t>(r * kColumns + s)];
            if (c.dtype == DType::f32)
              c.as<float>()[place] = sum + (beta != 0 ? c.as<float>()[place] : 0.0f);
            else
              c.as<Bf16>()[place] = Bf16(sum + (beta != 0 ? static_cast<float>(c.as<Bf16>()[place]) : 0.0f));
          }
      }
  });
}

}  // namespace drover::cpu
