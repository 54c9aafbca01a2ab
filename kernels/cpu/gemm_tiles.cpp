#include "kernels/cpu/gemm_tiles.h"

#include <cstring>

#include "kernels/cpu/bf16_dot.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {
namespace {

typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));

// 16 pairs of bf16 side by side; of any alignment.
[[gnu::always_inline]] inline Lanes load_pairs(const Bf16* from) {
  Lanes words;
  __builtin_memcpy(&words, from, sizeof words);
  return words;
}

// 16 of one row and of the next, zipped to pairs.
[[gnu::always_inline]] inline Lanes zip_pairs(const Bf16* even, const Bf16* odd) {
  Halves low, high;
  __builtin_memcpy(&low, even, sizeof low);
  __builtin_memcpy(&high, odd, sizeof high);
  const Words words = __builtin_convertvector(low, Words) | __builtin_convertvector(high, Words) << 16;
  return reinterpret_cast<const Lanes&>(words);
}

// One tile of `x`, whole, by 16 rows or by 16 pairs, whichever lie side by side; turned where the side wants the other.
template <bool AlongK, bool Turn> [[gnu::always_inline]] inline void pack_tile(uint32_t* to, const Bf16* x, int64_t stride) {
  Lanes row[kTileRows];
#pragma GCC unroll 16
  for (int64_t r = 0; r < kTileRows; ++r)
    row[r] = AlongK ? load_pairs(x + r * stride) : zip_pairs(x + 2 * r * stride, x + (2 * r + 1) * stride);
  if constexpr (Turn) transpose_lanes(row);
#pragma GCC unroll 16
  for (int64_t r = 0; r < kTileRows; ++r) store_lanes(reinterpret_cast<float*>(to) + r * kTilePairs, row[r]);
}

// The part of a tile that `x` has, and zeros.
template <bool AlongK, bool Turn>
[[gnu::always_inline]] inline void pack_edge(uint32_t* to, const Bf16* x, int64_t stride, int64_t rows, int64_t depth) {
  constexpr int64_t kDepth = 2 * kTilePairs;
  Bf16 whole[kTileRows * kDepth] = {};
  const int64_t lines = AlongK ? rows : depth, length = AlongK ? depth : rows, width = AlongK ? kDepth : kTileRows;
  for (int64_t i = 0; i < lines; ++i) std::memcpy(whole + i * width, x + i * stride, static_cast<size_t>(length) * sizeof(Bf16));
  pack_tile<AlongK, Turn>(to, whole, width);
}

template <bool AlongK, bool Turn> [[gnu::always_inline]] inline void pack(uint32_t* to, const Matrix& x) {
  constexpr int64_t kDepth = TileCut::kDepth;
  const Bf16* data = reinterpret_cast<const Bf16*>(x.data);
  const int64_t stride = AlongK ? x.row_stride : x.column_stride;
  const int64_t steps = (x.columns + kDepth - 1) / kDepth, tile_rows = (x.rows + TileCut::kSide - 1) / TileCut::kSide * 2;
  const auto tile = [&](int64_t r, int64_t t) __attribute__((always_inline)) {
    const int64_t rows = std::clamp<int64_t>(x.rows - r * kTileRows, 0, kTileRows),
                  depth = std::min(kDepth, x.columns - t * kDepth);
    uint32_t* at = to + (r / 2 * steps * 2 + t * 2 + r % 2) * kTileWords;
    const Bf16* from = data + (AlongK ? r * kTileRows * stride + t * kDepth : t * kDepth * stride + r * kTileRows);
    if (rows == kTileRows && depth == kDepth)
      pack_tile<AlongK, Turn>(at, from, stride);
    else
      pack_edge<AlongK, Turn>(at, from, stride, rows, depth);
  };
  // Along what lies side by side.
  if (AlongK) {
    for (int64_t r = 0; r < tile_rows; ++r)
      for (int64_t t = 0; t < steps; ++t) tile(r, t);
  } else {
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t r = 0; r < tile_rows; ++r) tile(r, t);
  }
}

DROVER_VECTOR void pack_along(uint32_t* to, const Matrix& x) { pack<true, false>(to, x); }
DROVER_VECTOR void pack_along_turned(uint32_t* to, const Matrix& x) { pack<true, true>(to, x); }
DROVER_VECTOR void pack_across(uint32_t* to, const Matrix& x) { pack<false, false>(to, x); }
DROVER_VECTOR void pack_across_turned(uint32_t* to, const Matrix& x) { pack<false, true>(to, x); }

// Rows of sums, whole ones as vectors; of `columns` otherwise.
template <class T> [[gnu::always_inline]] inline void unpack(const Matrix& c, const float* __restrict sums, bool accumulate) {
  constexpr int64_t kSide = TileCut::kSide;
  for (int64_t r = 0; r < c.rows; ++r) {
    T* __restrict to = reinterpret_cast<T*>(c.data) + r * c.row_stride;
    const float* __restrict from = sums + r * kSide;
    if (c.columns < kSide) {
      for (int64_t j = 0; j < c.columns; ++j) store(to + j, from[j] + (accumulate ? load(to + j) : 0.0f));
    } else if (accumulate) {
#pragma omp simd
      for (int64_t j = 0; j < kSide; ++j) store(to + j, from[j] + load(to + j));
    } else {
#pragma omp simd
      for (int64_t j = 0; j < kSide; ++j) store(to + j, from[j]);
    }
  }
}
DROVER_VECTOR void unpack_f32(const Matrix& c, const float* sums, bool accumulate) { unpack<float>(c, sums, accumulate); }
DROVER_VECTOR void unpack_bf16(const Matrix& c, const float* sums, bool accumulate) { unpack<Bf16>(c, sums, accumulate); }

#ifdef DROVER_BF16_DOT
DROVER_BF16_DOT void unpack_whole_rows(const Matrix& c, const float* sums) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* from = sums + r * TileCut::kSide;
    _mm512_storeu_si512(c.block(r, 1, 0, 1).data, round_to_bf16(from, from + kLanes));
  }
}
#endif

}  // namespace

void pack_tiles(uint32_t* to, const Matrix& x, TileSide side) {
  const bool along_k = x.column_stride == 1;
  // Rows that lie side by side along k make tiles [row][pair]; others make tiles [pair][row].
  if (along_k) return side == TileSide::left ? pack_along(to, x) : pack_along_turned(to, x);
  return side == TileSide::right ? pack_across(to, x) : pack_across_turned(to, x);
}

void unpack_sums(const Matrix& c, const float* sums, bool accumulate) {
#ifdef DROVER_BF16_DOT
  if (c.dtype == DType::bf16 && c.columns == TileCut::kSide && !accumulate && has_bf16_dot()) return unpack_whole_rows(c, sums);
#endif
  c.dtype == DType::f32 ? unpack_f32(c, sums, accumulate) : unpack_bf16(c, sums, accumulate);
}

}  // namespace drover::cpu
