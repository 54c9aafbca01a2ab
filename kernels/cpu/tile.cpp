#include "kernels/cpu/tile.h"

#include "kernels/cpu/dispatch.h"

namespace drover::cpu {
namespace {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;

// R rows by V vectors of C stay in registers over all of k.
template <int R, int V>
[[gnu::always_inline]] inline void block(float* c, int64_t ldc, const StridedTile& a, const float* b, int64_t ldb, int64_t k) {
  Lanes sum[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = *reinterpret_cast<const Lanes*>(c + r * ldc + v * kLanes);
  for (int64_t i = 0; i < k; ++i) {
    Lanes row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] = *reinterpret_cast<const Lanes*>(b + i * ldb + v * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += a.data[r * a.row + i * a.column] * row[v];
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) *reinterpret_cast<Lanes*>(c + r * ldc + v * kLanes) = sum[r][v];
}

template <int V> [[gnu::always_inline]] inline void columns(float* c, int64_t ldc, StridedTile a, const float* b, int64_t ldb,
                                                            int64_t m, int64_t k) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) block<4, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, k);
  for (; i < m; ++i) block<1, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, k);
}

}  // namespace

DROVER_VECTOR void tile_product(float* c, int64_t ldc, StridedTile a, const float* b, int64_t ldb, int64_t m, int64_t n,
                                int64_t k) {
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) columns<4>(c + j, ldc, a, b + j, ldb, m, k);
  for (; j < n; j += kLanes) columns<1>(c + j, ldc, a, b + j, ldb, m, k);
}

}  // namespace drover::cpu
