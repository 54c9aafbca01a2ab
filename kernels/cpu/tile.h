// Products of small f32 tiles, for attention: C [m, n] += A [m, k] B [k, n], with n a multiple of 16 and rows of B and C on 64 bytes'
// multiples. A's elements are broadcast one by one, so any strides of A cost the same: its transpose needs no copy.
#pragma once
#include <cstdint>

namespace drover::cpu {

struct StridedTile {
  const float* data;
  int64_t row, column;  // element strides
};

void tile_product(float* c, int64_t ldc, const StridedTile& a, const float* b, int64_t ldb, int64_t m, int64_t n, int64_t k);

// [rows, width] to [block][width][kTile]: each block of kTile rows transposed. rows: a multiple of kTile; width: of 16.
constexpr int64_t kTile = 64;
void transpose_blocks(float* to, const float* from, int64_t rows, int64_t width);

}  // namespace drover::cpu
