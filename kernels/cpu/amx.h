// Tiles of Intel's AMX (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18): eight registers of 16 rows of
// 64 bytes, here always whole. A sum is [16, 16] f32, a left operand 16 rows of 16 pairs of bf16, a right one 16 pairs of rows by 16
// columns: dot<C, A, B> is C [16, 16] += A [16, 32] B [32, 16].
//
// Code over tiles is a template of the class that has them, so that tests run it on any processor, with tiles in memory.
#pragma once
#include <cstdint>

namespace drover::cpu {

#if defined(__x86_64__) && defined(__GNUC__)
#define DROVER_AMX 1

// The instructions are written out: the compiler's own functions want the numbers of tiles as text.
class AmxTiles {
 public:
  // Whether the processor has them and the kernel lets this process use them, for which the first call asks.
  static bool available();

  // For the calling thread, from one to the other; no other code that uses tiles may run in between.
  static void begin();
  static void end();

  // `stride`: bytes from row to row.
  template <int Tile> [[gnu::always_inline]] static void zero() { asm volatile("tilezero %%tmm%c0" : : "i"(Tile)); }
  template <int Tile> [[gnu::always_inline]] static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile> [[gnu::always_inline]] static void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
  }
  template <int C, int A, int B> [[gnu::always_inline]] static void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

#endif

constexpr int64_t kTileRows = 16, kTilePairs = 16, kTileWords = kTileRows * kTilePairs;

// Operand tiles of a block: the one of step t along the sum, and of its first or second 16 rows (of A) or columns (of B), begins
// `along` t words, and `across` words for the second, after `first`.
struct TileRun {
  const uint32_t* first;
  int64_t row, along, across;  // strides in words
};

// C [32, 32] += A [32, 32 steps] B [32 steps, 32], or = where `accumulate` is false.
template <class Tiles> [[gnu::always_inline]] inline void tile_block(float* c, int64_t ldc, const TileRun& a, const TileRun& b,
                                                                     int64_t steps, bool accumulate) {
  constexpr int64_t kWord = 4;
  float* below = c + kTileRows * ldc;
  if (accumulate) {
    Tiles::template load<0>(c, ldc * kWord);
    Tiles::template load<1>(c + kTileRows, ldc * kWord);
    Tiles::template load<2>(below, ldc * kWord);
    Tiles::template load<3>(below + kTileRows, ldc * kWord);
  } else {
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    Tiles::template zero<2>();
    Tiles::template zero<3>();
  }
  for (int64_t t = 0; t < steps; ++t) {
    const uint32_t *left = a.first + t * a.along, *right = b.first + t * b.along;
    Tiles::template load<6>(right, b.row * kWord);
    Tiles::template load<4>(left, a.row * kWord);
    Tiles::template load<7>(right + b.across, b.row * kWord);
    Tiles::template load<5>(left + a.across, a.row * kWord);
    Tiles::template dot<0, 4, 6>();
    Tiles::template dot<1, 4, 7>();
    Tiles::template dot<2, 5, 6>();
    Tiles::template dot<3, 5, 7>();
  }
  Tiles::template store<0>(c, ldc * kWord);
  Tiles::template store<1>(c + kTileRows, ldc * kWord);
  Tiles::template store<2>(below, ldc * kWord);
  Tiles::template store<3>(below + kTileRows, ldc * kWord);
}

}  // namespace drover::cpu
