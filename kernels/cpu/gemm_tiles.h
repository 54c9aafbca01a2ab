// Matrix product of bf16 by tiles (kernels/cpu/amx.h), after Goto and van de Geijn (2008): a panel of B, which stays in the second cache, is
// packed by all threads; then each takes 32 rows of A after the other and goes along the panel with them, 32 by 32 elements of C at a time:
// along C's rows, because lines of C that are far apart take longer to write. Rows of A that lie side by side along k are tiles as
// they are.
#pragma once
#include <algorithm>

#include "kernels/base/threads.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/matrix.h"

namespace drover::cpu {

// [rows, k] of bf16, in tiles of 16 rows by 16 pairs along k: [rows / 32][k / 32][2] tiles, zero beyond rows and k.
//   left:  tile [row][pair], of the left operand x
//   right: tile [pair][row], of the right operand x^T
enum class TileSide : uint8_t { left, right };
void pack_tiles(uint32_t* to, const Matrix& x, TileSide side);

// c = sums, or c + sums, of [32 * ceil(rows / 32), 32] f32 beside it.
void unpack_sums(const Matrix& c, const float* sums, bool accumulate);

// How a product of [m, k] and [k, n] is cut.
struct TileCut {
  static constexpr int64_t kSide = 2 * kTileRows, kDepth = 2 * kTilePairs;  // elements of a block's side; of a step along k
  static constexpr int64_t kPanelBytes = int64_t{1024} << 10, kMostRows = 64;

  int64_t steps, workers, rows, columns;  // along k; threads; rows of A and columns of B that are packed at a time

  TileCut(int64_t m, int64_t n, int64_t k, int threads, int64_t scratch_bytes) {
    const auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    steps = ceil(k, kDepth);
    workers = std::min<int64_t>(threads, ceil(m, kSide));
    const int64_t row_bytes = steps * kDepth * 2;
    rows = std::min(kMostRows, ceil(ceil(m, workers), kSide) * kSide);
    const int64_t panel = std::min(kPanelBytes, scratch_bytes - 4 * workers * worker_words());
    const int64_t most = std::clamp(panel / row_bytes / kSide * kSide, kSide, ceil(n, kSide) * kSide);
    columns = ceil(ceil(n, ceil(n, most)), kSide) * kSide;  // panels alike: each goes over all of A
    DROVER_CHECK(bytes() <= scratch_bytes, "gemm: scratch of " + std::to_string(scratch_bytes));
  }
  int64_t panel_words() const { return columns * steps * kTilePairs; }
  int64_t rows_words() const { return rows * steps * kTilePairs; }
  int64_t worker_words() const { return rows_words() + kSide * kSide; }
  int64_t bytes() const { return 4 * (panel_words() + workers * worker_words()); }
};

constexpr int64_t kBlockWords = 2 * kTileWords;  // of one operand of tile_block, a step

// Whether rows of x are rows of words, of which whole tiles need no packing.
inline bool lies_in_words(const Matrix& x) {
  return x.column_stride == 1 && x.columns % TileCut::kDepth == 0 && x.row_stride % 2 == 0 &&
         reinterpret_cast<uintptr_t>(x.data) % sizeof(uint32_t) == 0;
}

template <class Tiles> void multiply_tiles(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, TensorView scratch) {
  constexpr int64_t kSide = TileCut::kSide;
  const int64_t m = c.rows, n = c.columns, k = a.columns, row_blocks = (m + kSide - 1) / kSide;
  const TileCut cut(m, n, k, threads(), scratch.bytes());
  const int64_t slice_words = cut.steps * kBlockWords;
  uint32_t* const panel = reinterpret_cast<uint32_t*>(scratch.data);

  const auto tiles = [](const uint32_t* first) { return TileRun{first, kTilePairs, kBlockWords, kTileWords}; };
  const auto multiply_rows = [&](int64_t i, int64_t rows, int64_t j, int64_t columns, uint32_t* packed, float* sums) {
    const bool in_place = lies_in_words(a) && rows % kSide == 0;
    if (!in_place) pack_tiles(packed, a.block(i, rows, 0, k), TileSide::left);
    for (int64_t r = 0; r < rows; r += kSide) {
      const uint32_t* words = reinterpret_cast<const uint32_t*>(a.block(i + r, 1, 0, 1).data);
      const int64_t row = a.row_stride / 2;
      const TileRun left = in_place ? TileRun{words, row, kTilePairs, kTileRows * row} : tiles(packed + r / kSide * slice_words);
      for (int64_t column = 0; column < columns; column += kSide) {
        tile_block<Tiles>(sums, kSide, left, tiles(panel + column / kSide * slice_words), cut.steps, false);
        unpack_sums(c.block(i + r, std::min(kSide, rows - r), j + column, std::min(kSide, columns - column)), sums, accumulate);
      }
    }
  };

  for (int64_t j = 0; j < n; j += cut.columns) {
    const int64_t columns = std::min(cut.columns, n - j);
    const Matrix right = b.block(0, k, j, columns).transposed();
    parallel_for((columns + kSide - 1) / kSide, 1, [&](int64_t first, int64_t last) {
      const int64_t begin = first * kSide, end = std::min(last * kSide, columns);
      pack_tiles(panel + first * slice_words, right.block(begin, end - begin, 0, k), TileSide::right);
    });
    parallel_for(cut.workers, 1, [&](int64_t first, int64_t last) {
      Tiles::begin();
      for (int64_t worker = first; worker < last; ++worker) {
        uint32_t* const packed = panel + cut.panel_words() + worker * cut.worker_words();
        // cppcheck-suppress invalidPointerCast  // memory for either
        float* const sums = reinterpret_cast<float*>(packed + cut.rows_words());
        const int64_t end = std::min(m, row_blocks * (worker + 1) / cut.workers * kSide);
        for (int64_t i = row_blocks * worker / cut.workers * kSide; i < end; i += cut.rows)
          multiply_rows(i, std::min(cut.rows, end - i), j, columns, packed, sums);
      }
      Tiles::end();
    });
  }
}

}  // namespace drover::cpu
