// Matrix product of bf16 by tiles (kernels/cpu/amx.h), after Goto and van de Geijn (2008): a panel of B is packed by all threads, then each
// takes blocks of rows of A, packs one, and multiplies it with the panel, 32 by 32 elements of C at a time.
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

// Brings lines that will be written nearer: a write to one that is far away waits for it.
inline void fetch_rows(const Matrix& c) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const Matrix row = c.block(r, 1, 0, c.columns);
    for (int64_t byte = 0; byte < c.columns * size_of(c.dtype); byte += 4 * kLineWords) __builtin_prefetch(row.data + byte, 1, 2);
  }
}

// How a product of [m, k] and [k, n] is cut.
struct TileCut {
  static constexpr int64_t kSide = 2 * kTileRows, kDepth = 2 * kTilePairs;  // elements of a block's side; of a step along k
  static constexpr int64_t kStepsAtOnce = 8;                                // 16 KiB of B, which stay in the nearest cache
  static constexpr int64_t kPanelBytes = int64_t{8} << 20, kRowsBytes = int64_t{768} << 10, kMostRows = 256;

  int64_t steps, workers, rows, columns;  // along k; threads; rows of A and columns of B that are packed at a time

  TileCut(int64_t m, int64_t n, int64_t k, int threads, int64_t scratch_bytes) {
    const auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    steps = ceil(k, kDepth);
    workers = std::min<int64_t>(threads, ceil(m, kSide));
    const int64_t row_bytes = steps * kDepth * 2;
    rows = std::clamp(kRowsBytes / row_bytes / kSide * kSide, kSide, std::min(kMostRows, ceil(ceil(m, workers), kSide) * kSide));
    const int64_t panel = std::min(kPanelBytes, scratch_bytes - 4 * workers * worker_words());
    columns = std::clamp(panel / row_bytes / kSide * kSide, kSide, ceil(n, kSide) * kSide);
    DROVER_CHECK(bytes() <= scratch_bytes, "gemm: scratch of " + std::to_string(scratch_bytes));
  }
  int64_t panel_words() const { return columns * steps * kTilePairs; }
  int64_t rows_words() const { return rows * steps * kTilePairs; }
  int64_t worker_words() const { return rows_words() + rows * kSide; }
  int64_t bytes() const { return 4 * (panel_words() + workers * worker_words()); }
};

constexpr int64_t kBlockWords = 2 * kTileWords;  // of one operand of tile_block, a step

// sums [rows, 32] = A [rows, k] B [k, 32] of packed operands, of which B's next slice follows in memory. `to`: where sums go afterwards.
template <class Tiles> void multiply_slice(float* sums, const uint32_t* a, const uint32_t* b, int64_t all_steps, const Matrix& to) {
  constexpr int64_t kSide = TileCut::kSide, kLinesAStep = kBlockWords / kLineWords;
  const int64_t blocks = (to.rows + kSide - 1) / kSide, lines = (kLinesAStep + blocks - 1) / blocks;
  const auto tiles = [](const uint32_t* first) { return TileRun{first, kTilePairs, kBlockWords, kTileWords}; };
  for (int64_t t = 0; t < all_steps; t += TileCut::kStepsAtOnce) {
    const int64_t steps = std::min(TileCut::kStepsAtOnce, all_steps - t);
    const uint32_t *part = b + t * kBlockWords, *next_part = part + steps * kBlockWords;
    for (int64_t block = 0; block < blocks; ++block) {
      const auto row = [&](int64_t step) { return std::min(to.rows, block * kSide + kSide * step / all_steps); };
      fetch_rows(to.block(row(t), row(t + steps) - row(t), 0, to.columns));
      tile_block<Tiles>(sums + block * kSide * kSide, kSide, tiles(a + (block * all_steps + t) * kBlockWords), tiles(part), steps,
                        t > 0, {next_part + block * steps * lines * kLineWords, lines});
    }
  }
}

template <class Tiles> void multiply_tiles(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, TensorView scratch) {
  constexpr int64_t kSide = TileCut::kSide;
  const int64_t m = c.rows, n = c.columns, k = a.columns, row_blocks = (m + kSide - 1) / kSide;
  const TileCut cut(m, n, k, threads(), scratch.bytes());
  const int64_t slice_words = cut.steps * kBlockWords;
  uint32_t* const panel = reinterpret_cast<uint32_t*>(scratch.data);

  const auto multiply_rows = [&](int64_t i, int64_t rows, int64_t j, int64_t columns, uint32_t* packed, float* sums) {
    pack_tiles(packed, a.block(i, rows, 0, k), TileSide::left);
    for (int64_t column = 0; column < columns; column += kSide) {
      const Matrix to = c.block(i, rows, j + column, std::min(kSide, columns - column));
      multiply_slice<Tiles>(sums, packed, panel + column / kSide * slice_words, cut.steps, to);
      unpack_sums(to, sums, accumulate);
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
