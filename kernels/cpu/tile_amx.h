// The product of pairs of kernels/cpu/tile.h by AMX: what makes whole 32 x 32 blocks of whole tiles; the rest by vectors. The thread has tiles.
#pragma once
#include <algorithm>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/tile.h"

namespace drover::cpu {

template <class Tiles> void tile_product_by(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb,
                                            int64_t m, int64_t n, int64_t pairs, bool accumulate) {
  constexpr int64_t kSide = 2 * kTileRows, kMostPairs = 2 * kTilePairs;
  const int64_t rows = m / kSide * kSide, columns = n / kSide * kSide, whole = pairs / kTilePairs * kTilePairs;
  alignas(64) uint32_t turned[kSide * kMostPairs];
  for (int64_t i = 0; i < rows; i += kSide)
    for (int64_t l = 0; l < whole;) {
      const int64_t depth = a.column == 1 ? whole : std::min(kMostPairs, whole - l);
      TileRun left{a.data + i * a.row + l, a.row, kTilePairs, kTileRows * a.row};
      if (a.column != 1) {
        transpose(turned, kMostPairs, a.data + i + l * a.column, a.column, depth, kSide);
        left = {turned, kMostPairs, kTilePairs, kTileRows * kMostPairs};
      }
      for (int64_t j = 0; j < columns; j += kSide)
        tile_block<Tiles>(c + i * ldc + j, ldc, left, {b + l * ldb + j, ldb, kTilePairs * ldb, kTilePairs}, depth / kTilePairs,
                          accumulate || l > 0);
      l += depth;
    }
  const StridedTile<uint32_t> below{a.data + rows * a.row, a.row, a.column}, later{a.data + whole * a.column, a.row, a.column};
  if (whole == 0 || whole < pairs)
    tile_product_vectors(c, ldc, later, b + whole * ldb, ldb, rows, columns, pairs - whole, accumulate || whole > 0);
  tile_product_vectors(c + columns, ldc, a, b + columns, ldb, rows, n - columns, pairs, accumulate);
  tile_product_vectors(c + rows * ldc, ldc, below, b, ldb, m - rows, n, pairs, accumulate);
}

}  // namespace drover::cpu
