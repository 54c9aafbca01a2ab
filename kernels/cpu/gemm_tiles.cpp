#include "kernels/cpu/gemm_tiles.h"

#include <cstring>

#include "kernels/cpu/bf16_dot.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/vector_math.h"

namespace drover::cpu {
namespace {

constexpr int64_t kSide = TileCut::kSide, kDepth = TileCut::kDepth;

// 32 bf16 side by side as 16 words; of any alignment.
[[gnu::always_inline]] inline Lanes load_pairs(const Bf16* from) {
  Lanes words;
  __builtin_memcpy(&words, from, sizeof words);
  return words;
}

// The two tiles of 32 by 32 elements of `x`, of which 32 rows along k, or 32 rows across it, are `stride` apart; turned where tiles lie the
// other way.
template <bool AlongK, bool Turn> [[gnu::always_inline]] inline void pack_block(uint32_t* to, const Bf16* x, int64_t stride) {
  static_assert(kSide == 2 * kLanes && kDepth == 2 * kLanes);
  constexpr int64_t kQuad = 4;
  const auto store_row = [to](int64_t tile, int64_t row, const Lanes& words) __attribute__((always_inline)) {
    store_lanes(reinterpret_cast<float*>(to + tile * kTileWords + row * kTilePairs), words);
  };
  if constexpr (!AlongK && !Turn) {
    for (int64_t pair = 0; pair < kTilePairs; ++pair, x += 2 * stride) {
      const Lanes even = load_pairs(x), odd = load_pairs(x + stride);
      const Lanes low = zip_halves<0>(even, odd), high = zip_halves<1>(even, odd);
      store_row(0, pair, zip_quads<0>(low, high));
      store_row(1, pair, zip_quads<1>(low, high));
    }
    return;
  }
#pragma GCC unroll 2
  for (int64_t half = 0; half < 2; ++half) {
    Lanes row[kLanes];
#pragma GCC unroll 16
    for (int64_t r = 0; r < kLanes; ++r)
      row[r] = AlongK      ? load_pairs(x + (half * kTileRows + r) * stride)
               : half == 0 ? zip_halves<0>(load_pairs(x + 2 * r * stride), load_pairs(x + (2 * r + 1) * stride))
                           : zip_halves<1>(load_pairs(x + 2 * r * stride), load_pairs(x + (2 * r + 1) * stride));
    // Halves are zipped within quads of words, so that lane l is of row 8 (l / 4) + l % 4, and 4 more.
    if constexpr (Turn) transpose_lanes(row);
#pragma GCC unroll 16
    for (int64_t l = 0; l < kLanes; ++l) {
      if constexpr (AlongK)
        store_row(half, l, row[l]);
      else
        store_row(l / 8, l % 8 / kQuad * 2 * kQuad + half * kQuad + l % kQuad, row[l]);
    }
  }
}

// The part of a block that `x` has, and zeros.
template <bool AlongK, bool Turn>
[[gnu::always_inline]] inline void pack_edge(uint32_t* to, const Bf16* x, int64_t stride, int64_t rows, int64_t depth) {
  Bf16 whole[kSide * kDepth] = {};
  const int64_t lines = AlongK ? rows : depth, length = AlongK ? depth : rows;
  for (int64_t i = 0; i < lines; ++i) std::memcpy(whole + i * kSide, x + i * stride, static_cast<size_t>(length) * sizeof(Bf16));
  pack_block<AlongK, Turn>(to, whole, kSide);
}

template <bool AlongK, bool Turn> [[gnu::always_inline]] inline void pack(uint32_t* to, const Matrix& x) {
  const Bf16* data = reinterpret_cast<const Bf16*>(x.data);
  const int64_t stride = AlongK ? x.row_stride : x.column_stride;
  const int64_t steps = (x.columns + kDepth - 1) / kDepth, blocks = (x.rows + kSide - 1) / kSide;
  const auto block = [&](int64_t b, int64_t t) __attribute__((always_inline)) {
    const int64_t rows = std::min(kSide, x.rows - b * kSide), depth = std::min(kDepth, x.columns - t * kDepth);
    uint32_t* at = to + (b * steps + t) * 2 * kTileWords;
    const Bf16* from = data + (AlongK ? b * kSide * stride + t * kDepth : t * kDepth * stride + b * kSide);
    if (rows == kSide && depth == kDepth)
      pack_block<AlongK, Turn>(at, from, stride);
    else
      pack_edge<AlongK, Turn>(at, from, stride, rows, depth);
  };
  // Along what lies side by side.
  if (AlongK) {
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t t = 0; t < steps; ++t) block(b, t);
  } else {
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t b = 0; b < blocks; ++b) block(b, t);
  }
}

DROVER_VECTOR void pack_along(uint32_t* to, const Matrix& x) { pack<true, false>(to, x); }
DROVER_VECTOR void pack_along_turned(uint32_t* to, const Matrix& x) { pack<true, true>(to, x); }
DROVER_VECTOR void pack_across(uint32_t* to, const Matrix& x) { pack<false, false>(to, x); }
DROVER_VECTOR void pack_across_turned(uint32_t* to, const Matrix& x) { pack<false, true>(to, x); }

// Rows of fewer than 32 sums.
template <class T> [[gnu::always_inline]] inline void unpack_edge(const Matrix& c, const float* sums, bool accumulate) {
  for (int64_t r = 0; r < c.rows; ++r) {
    T* to = reinterpret_cast<T*>(c.data) + r * c.row_stride;
    for (int64_t j = 0; j < c.columns; ++j) store(to + j, sums[r * kSide + j] + (accumulate ? load(to + j) : 0.0f));
  }
}
DROVER_VECTOR void unpack_f32(const Matrix& c, const float* sums, bool accumulate) {
  if (c.columns < kSide) return unpack_edge<float>(c, sums, accumulate);
  float* to = reinterpret_cast<float*>(c.data);
  for (int64_t r = 0; r < c.rows; ++r, to += c.row_stride, sums += kSide)
    for (int64_t j = 0; j < kSide; j += kLanes)
      store_lanes(to + j, accumulate ? load_lanes(sums + j) + load_lanes(to + j) : load_lanes(sums + j));
}
DROVER_VECTOR void unpack_bf16(const Matrix& c, const float* sums, bool accumulate) {
  if (c.columns < kSide) return unpack_edge<Bf16>(c, sums, accumulate);
  for (int64_t r = 0; r < c.rows; ++r) {
    Bf16* __restrict to = reinterpret_cast<Bf16*>(c.data) + r * c.row_stride;
    const float* __restrict from = sums + r * kSide;
    if (accumulate) {  // NOLINT(bugprone-branch-clone): it does not see into the loops below a pragma
#pragma omp simd
      for (int64_t j = 0; j < kSide; ++j) store(to + j, from[j] + load(to + j));
    } else {
#pragma omp simd
      for (int64_t j = 0; j < kSide; ++j) store(to + j, from[j]);
    }
  }
}

#ifdef DROVER_BF16_DOT
DROVER_BF16_DOT void unpack_rounded(Bf16* to, int64_t stride, const float* sums, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r, to += stride, sums += kSide) _mm512_storeu_si512(to, round_to_bf16(sums, sums + kLanes));
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
  if (c.dtype == DType::f32) return unpack_f32(c, sums, accumulate);
#ifdef DROVER_BF16_DOT
  if (c.columns == kSide && !accumulate && has_bf16_dot())
    return unpack_rounded(reinterpret_cast<Bf16*>(c.data), c.row_stride, sums, c.rows);
#endif
  unpack_bf16(c, sums, accumulate);
}

}  // namespace drover::cpu
