// Sixteen f32 side by side, as the compiler's vector extension. In functions that are compiled for several processors (DROVER_VECTOR) only
// arithmetic and constant shuffles of them become wide instructions: g++ takes comparisons apart before it knows the processor.
#pragma once
#include <cstdint>

namespace drover::cpu {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t LaneIntegers __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;

[[gnu::always_inline]] inline Lanes load_lanes(const float* from) { return *reinterpret_cast<const Lanes*>(from); }
[[gnu::always_inline]] inline void store_lanes(float* to, const Lanes& value) { *reinterpret_cast<Lanes*>(to) = value; }

// Lane i of the result is lane index[i] of `a` and then `b`. Constant indices become one instruction with g++.
[[gnu::always_inline]] inline Lanes shuffle(const Lanes& a, const Lanes& b, const LaneIntegers& index) {
#ifdef __clang__
  Lanes chosen{};
  for (int i = 0; i < kLanes; ++i) chosen[i] = index[i] < kLanes ? a[index[i]] : b[index[i] - kLanes];
  return chosen;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// Of each four words of `a` and of `b`, the first two (Part 0) or the last two (Part 1), half by half in turn: a, b, a, b, ...
template <int Part> [[gnu::always_inline]] inline Lanes zip_halves(const Lanes& a, const Lanes& b) {
  typedef uint16_t Halves __attribute__((vector_size(64), may_alias));
  constexpr int kHalves = 32;
  const Halves even = reinterpret_cast<const Halves&>(a), odd = reinterpret_cast<const Halves&>(b);
  Halves zipped{}, index{};
  for (int i = 0; i < kHalves; ++i) index[i] = static_cast<uint16_t>(i / 8 * 8 + Part * 4 + i % 8 / 2 + i % 2 * kHalves);
#ifdef __clang__
  for (int i = 0; i < kHalves; ++i) zipped[i] = index[i] < kHalves ? even[index[i]] : odd[index[i] - kHalves];
#else
  zipped = __builtin_shuffle(even, odd, index);
#endif
  return reinterpret_cast<const Lanes&>(zipped);
}

// Of eight words of `a` and of `b`, the first ones (Part 0) or the last (Part 1), four by four in turn.
template <int Part> [[gnu::always_inline]] inline Lanes zip_quads(const Lanes& a, const Lanes& b) {
  LaneIntegers index{};
  for (int i = 0; i < kLanes; ++i) index[i] = static_cast<int32_t>(Part * 8 + i / 8 * 4 + i % 4 + i / 4 % 2 * kLanes);
  return shuffle(a, b, index);
}

[[gnu::always_inline]] inline LaneIntegers load_words(const uint32_t* from) { return *reinterpret_cast<const LaneIntegers*>(from); }

// Exchanges the off-diagonal halves of every 2S x 2S square of a 16 x 16 one.
template <int S> [[gnu::always_inline]] inline void exchange_lanes(Lanes* row) {
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

// Of a 16 x 16 square: row r becomes column r.
[[gnu::always_inline]] inline void transpose_lanes(Lanes* row) {
  exchange_lanes<1>(row);
  exchange_lanes<2>(row);
  exchange_lanes<4>(row);
  exchange_lanes<8>(row);
}

}  // namespace drover::cpu
