#include <algorithm>

#include "kernels/cpu/bf16_dot.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/tile_amx.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {
namespace {

// A word as its two bf16, widened.
[[gnu::always_inline]] inline Lanes low_half(const LaneIntegers& words) { return reinterpret_cast<Lanes>(words << 16); }
[[gnu::always_inline]] inline Lanes high_half(const LaneIntegers& words) {
  return reinterpret_cast<Lanes>(words & static_cast<int32_t>(0xffff0000u));
}

// R rows by one vector of C.
template <int R> [[gnu::always_inline]] inline void portable_block(float* c, int64_t ldc, const StridedTile<uint32_t>& a,
                                                                   const uint32_t* b, int64_t ldb, int64_t pairs, bool accumulate) {
  Lanes sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r] = accumulate ? load_lanes(c + r * ldc) : Lanes{};
  for (int64_t i = 0; i < pairs; ++i) {
    const LaneIntegers words = load_words(b + i * ldb);
    const Lanes low = low_half(words), high = high_half(words);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const uint32_t pair = a.data[r * a.row + i * a.column];
      sum[r] += std::bit_cast<float>(pair << 16) * low;
      sum[r] += std::bit_cast<float>(pair & 0xffff0000u) * high;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) store_lanes(c + r * ldc, sum[r]);
}

#ifdef DROVER_BF16_DOT
// R rows by V vectors of C stay in registers over all of k.
template <int R, int V>
[[gnu::always_inline]] DROVER_BF16_DOT inline void native_block(float* c, int64_t ldc, const StridedTile<uint32_t>& a,
                                                                const uint32_t* b, int64_t ldb, int64_t pairs, bool accumulate) {
  __m512 sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = accumulate ? _mm512_loadu_ps(c + r * ldc + v * kLanes) : _mm512_setzero_ps();
  for (int64_t i = 0; i < pairs; ++i) {
    __m512bh row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] = (__m512bh)_mm512_loadu_si512(b + i * ldb + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512bh pair = (__m512bh)_mm512_set1_epi32(static_cast<int32_t>(a.data[r * a.row + i * a.column]));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], pair, row[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) _mm512_storeu_ps(c + r * ldc + v * kLanes, sum[r][v]);
}

template <int V> [[gnu::always_inline]] DROVER_BF16_DOT inline void native_columns(float* c, int64_t ldc,
                                                                                   const StridedTile<uint32_t>& a,
                                                                                   const uint32_t* b, int64_t ldb, int64_t m,
                                                                                   int64_t pairs, bool accumulate) {
  constexpr int kRows = V == 4 ? 4 : 8;
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows)
    native_block<kRows, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, pairs, accumulate);
  for (; i < m; ++i) native_block<1, V>(c + i * ldc, ldc, {a.data + i * a.row, a.row, a.column}, b, ldb, pairs, accumulate);
}

DROVER_BF16_DOT void product_native(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb,
                                    int64_t m, int64_t n, int64_t pairs, bool accumulate) {
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) native_columns<4>(c + j, ldc, a, b + j, ldb, m, pairs, accumulate);
  for (; j + 2 * kLanes <= n; j += 2 * kLanes) native_columns<2>(c + j, ldc, a, b + j, ldb, m, pairs, accumulate);
  for (; j < n; j += kLanes) native_columns<1>(c + j, ldc, a, b + j, ldb, m, pairs, accumulate);
}
#endif

[[gnu::always_inline]] inline uint32_t bits_of(const Bf16* x) { return x->bits; }
[[gnu::always_inline]] inline uint32_t bits_of(const float* x) {
  Bf16 narrow;
  store(&narrow, *x);
  return narrow.bits;
}

template <class T> [[gnu::always_inline]] inline void zip(uint32_t* to, const T* from, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; r += 2) {
    const T *even = from + r * width, *odd = even + width;
    uint32_t* words = to + r / 2 * width;
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) words[j] = bits_of(even + j) | bits_of(odd + j) << 16;
  }
}

}  // namespace

DROVER_VECTOR void tile_product_portable(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb,
                                         int64_t m, int64_t n, int64_t pairs, bool accumulate) {
  for (int64_t j = 0; j < n; j += kLanes) {
    int64_t i = 0;
    for (; i + 4 <= m; i += 4)
      portable_block<4>(c + i * ldc + j, ldc, {a.data + i * a.row, a.row, a.column}, b + j, ldb, pairs, accumulate);
    for (; i < m; ++i)
      portable_block<1>(c + i * ldc + j, ldc, {a.data + i * a.row, a.row, a.column}, b + j, ldb, pairs, accumulate);
  }
}

void tile_product_vectors(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb, int64_t m,
                          int64_t n, int64_t pairs, bool accumulate) {
#ifdef DROVER_BF16_DOT
  if (has_bf16_dot()) return product_native(c, ldc, a, b, ldb, m, n, pairs, accumulate);
#endif
  tile_product_portable(c, ldc, a, b, ldb, m, n, pairs, accumulate);
}

#ifdef DROVER_AMX
PairProducts::PairProducts() {
  if (AmxTiles::available()) AmxTiles::begin();
}
PairProducts::~PairProducts() {
  if (AmxTiles::available()) AmxTiles::end();
}
#else
PairProducts::PairProducts() = default;
PairProducts::~PairProducts() = default;
#endif

int64_t pair_strip() {
#ifdef DROVER_AMX
  if (AmxTiles::available()) return 2 * kTileRows;
#endif
  return kLanes;
}

void tile_product(float* c, int64_t ldc, const StridedTile<uint32_t>& a, const uint32_t* b, int64_t ldb, int64_t m, int64_t n,
                  int64_t pairs, bool accumulate) {
#ifdef DROVER_AMX
  if (AmxTiles::available()) return tile_product_by<AmxTiles>(c, ldc, a, b, ldb, m, n, pairs, accumulate);
#endif
  tile_product_vectors(c, ldc, a, b, ldb, m, n, pairs, accumulate);
}

namespace {
DROVER_VECTOR void narrow_portable(Bf16* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) store(to + i, from[i]);
}
DROVER_VECTOR void zip_portable(uint32_t* to, const float* from, int64_t rows, int64_t width) { zip(to, from, rows, width); }

#ifdef DROVER_BF16_DOT
// What is left of a whole vector is rounded as one, so that an element's bits do not depend on its place.
DROVER_BF16_DOT void narrow_native(Bf16* to, const float* from, int64_t count) {
  constexpr int64_t kWhole = 2 * kLanes;
  const int64_t whole = count / kWhole * kWhole;
  for (int64_t i = 0; i < whole; i += kWhole) _mm512_storeu_si512(to + i, round_to_bf16(from + i, from + i + kLanes));
  if (whole == count) return;
  float rest[kWhole] = {};
  Bf16 rounded[kWhole];
  std::copy(from + whole, from + count, rest);
  _mm512_storeu_si512(rounded, round_to_bf16(rest, rest + kLanes));
  std::copy(rounded, rounded + (count - whole), to + whole);
}

DROVER_BF16_DOT void zip_native(uint32_t* to, const float* from, int64_t rows, int64_t width) {
  alignas(64) uint16_t place[2 * kLanes];
  for (uint16_t i = 0; i < kLanes; ++i) place[2 * i] = i, place[2 * i + 1] = static_cast<uint16_t>(i + kLanes);
  const __m512i places = _mm512_load_si512(place);
  for (int64_t r = 0; r < rows; r += 2)
    for (int64_t j = 0; j < width; j += kLanes) {
      const float* even = from + r * width + j;
      _mm512_storeu_si512(to + r / 2 * width + j, _mm512_permutexvar_epi16(places, round_to_bf16(even, even + width)));
    }
}
#endif
}  // namespace

void narrow(Bf16* to, const float* from, int64_t count) {
#ifdef DROVER_BF16_DOT
  if (has_bf16_dot()) return narrow_native(to, from, count);
#endif
  narrow_portable(to, from, count);
}

DROVER_VECTOR void zip_rows(uint32_t* to, const Bf16* from, int64_t rows, int64_t width) { zip(to, from, rows, width); }

void zip_rows(uint32_t* to, const float* from, int64_t rows, int64_t width) {
#ifdef DROVER_BF16_DOT
  if (has_bf16_dot() && width % kLanes == 0) return zip_native(to, from, rows, width);
#endif
  zip_portable(to, from, rows, width);
}

}  // namespace drover::cpu
