// AMX's tiles in memory, for processors that have none: what kernels/cpu/amx.h does, spelled out.
#pragma once
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "kernels/bf16.h"
#include "kernels/cpu/amx.h"

namespace drover::cpu {

class MemoryTiles {
 public:
  static void begin() {
    if (state().configured) throw std::logic_error("tiles begun twice");
    state() = {};
    state().configured = true;
  }
  static void end() {
    check();
    state().configured = false;
  }

  template <int Tile> static void zero() {
    check();
    std::memset(state().tile[Tile], 0, sizeof state().tile[Tile]);
  }
  template <int Tile> static void load(const void* from, int64_t stride) {
    check();
    for (int64_t row = 0; row < kTileRows; ++row)
      std::memcpy(state().tile[Tile][row], static_cast<const char*>(from) + row * stride, 64);
  }
  template <int Tile> static void store(void* to, int64_t stride) {
    check();
    for (int64_t row = 0; row < kTileRows; ++row) std::memcpy(static_cast<char*>(to) + row * stride, state().tile[Tile][row], 64);
  }
  template <int C, int A, int B> static void dot() {
    check();
    for (int row = 0; row < kTileRows; ++row)
      for (int pair = 0; pair < kTilePairs; ++pair)
        for (int column = 0; column < kTileRows; ++column) {
          const uint32_t a = state().tile[A][row][pair], b = state().tile[B][pair][column];
          float c = half(state().tile[C][row][column]);
          c += half(a << 16) * half(b << 16);
          c += half(a & 0xffff0000u) * half(b & 0xffff0000u);
          std::memcpy(&state().tile[C][row][column], &c, sizeof c);
        }
  }

 private:
  struct State {
    bool configured;
    uint32_t tile[8][kTileRows][kTilePairs];
  };
  static State& state() {
    static thread_local State tiles{};
    return tiles;
  }
  static void check() {
    if (!state().configured) throw std::logic_error("a tile before begin or after end");
  }
  static float half(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
};

}  // namespace drover::cpu
