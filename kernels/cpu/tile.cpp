#include "kernels/cpu/tile.h"

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"

namespace drover::cpu {
namespace {

// Exchanges the off-diagonal halves of every 2S x 2S square of a 16 x 16 one; 1, 2, 4 and 8 in turn transpose it.
template <int S> [[gnu::always_inline]] inline void exchange(Lanes* row) {
  LaneIntegers low{}, high{};
  for (int lane = 0; lane < kLanes; ++lane) {
    low[lane] = lane & S ? kLanes + lane - S : lane;
    high[lane] = lane & S ? kLanes + lane : lane + S;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) {
    if (r & S) continue;
    const Lanes above = row[r], below = row[r + S];
    row[r] = shuffle(above, below, low);
    row[r + S] = shuffle(above, below, high);
  }
}

// R rows by V vectors of C stay in registers over all of k.
template <int R, int V> [[gnu::always_inline]] inline void block(float* c, int64_t ldc, const StridedTile<float>& a, const float* b,
                                                                 int64_t ldb, int64_t k) {
  Lanes sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = load_lanes(c + r * ldc + v * kLanes);
  for (int64_t i = 0; i < k; ++i) {
    Lanes row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] = load_lanes(b + i * ldb + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += a.data[r * a.row + i * a.column] * row[v];
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store_lanes(c + r * ldc + v * kLanes, sum[r][v]);
}

template <int V> [[gnu::always_inline]] inline void columns(float* c, int64_t ldc, const StridedTile<float>& a, const float* b,
                                                            int64_t ldb, int64_t m, int64_t k) {
  constexpr int kRows = V == 4 ? 4 : 8;  // sums enough to hide the latency of additions, few enough for the registers
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows) block<kRows, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, k);
  for (; i < m; ++i) block<1, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, k);
}

}  // namespace

DROVER_VECTOR void transpose_blocks(float* to, const float* from, int64_t rows, int64_t width) {
  for (int64_t block = 0; block < rows; block += kTile)
    for (int64_t r = 0; r < kTile; r += kLanes)
      for (int64_t d = 0; d < width; d += kLanes) {
        Lanes row[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) row[i] = load_lanes(from + (block + r + i) * width + d);
        exchange<1>(row);
        exchange<2>(row);
        exchange<4>(row);
        exchange<8>(row);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store_lanes(to + block * width + (d + i) * kTile + r, row[i]);
      }
}

void transpose_blocks(uint32_t* to, const uint32_t* from, int64_t rows, int64_t width) {
  // cppcheck-suppress invalidPointerCast  // it moves bits and never computes
  transpose_blocks(reinterpret_cast<float*>(to), reinterpret_cast<const float*>(from), rows, width);
}

DROVER_VECTOR void tile_product(float* c, int64_t ldc, const StridedTile<float>& a, const float* b, int64_t ldb, int64_t m,
                                int64_t n, int64_t k) {
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) columns<4>(c + j, ldc, a, b + j, ldb, m, k);
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) columns<2>(c + j, ldc, a, b + j, ldb, m, k);
  for (; j < n; j += kLanes) columns<1>(c + j, ldc, a, b + j, ldb, m, k);
}

}  // namespace drover::cpu
