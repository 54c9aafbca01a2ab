#include "kernels/cpu/tile.h"

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"

namespace drover::cpu {
namespace {

// R rows by V vectors of C stay in registers over all of k.
template <int R, int V> [[gnu::always_inline]] inline void block(float* c, int64_t ldc, const StridedTile<float>& a, const float* b,
                                                                 int64_t ldb, int64_t k, bool accumulate) {
  Lanes sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = accumulate ? load_lanes(c + r * ldc + v * kLanes) : Lanes{};
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
                                                            int64_t ldb, int64_t m, int64_t k, bool accumulate) {
  constexpr int kRows = V == 4 ? 4 : 8;  // sums enough to hide the latency of additions, few enough for the registers
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows)
    block<kRows, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, k, accumulate);
  for (; i < m; ++i) block<1, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, k, accumulate);
}

}  // namespace

DROVER_VECTOR void transpose(float* to, int64_t ldto, const float* from, int64_t ldfrom, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; r += kLanes)
    for (int64_t d = 0; d < columns; d += kLanes) {
      Lanes row[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) row[i] = load_lanes(from + (r + i) * ldfrom + d);
      transpose_lanes(row);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store_lanes(to + (d + i) * ldto + r, row[i]);
    }
}

void transpose(uint32_t* to, int64_t ldto, const uint32_t* from, int64_t ldfrom, int64_t rows, int64_t columns) {
  // cppcheck-suppress invalidPointerCast  // it moves bits and never computes
  transpose(reinterpret_cast<float*>(to), ldto, reinterpret_cast<const float*>(from), ldfrom, rows, columns);
}

DROVER_VECTOR void tile_product(float* c, int64_t ldc, const StridedTile<float>& a, const float* b, int64_t ldb, int64_t m,
                                int64_t n, int64_t k, bool accumulate) {
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) columns<4>(c + j, ldc, a, b + j, ldb, m, k, accumulate);
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) columns<2>(c + j, ldc, a, b + j, ldb, m, k, accumulate);
  for (; j < n; j += kLanes) columns<1>(c + j, ldc, a, b + j, ldb, m, k, accumulate);
}

}  // namespace drover::cpu
