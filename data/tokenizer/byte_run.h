// A run of bytes of one kind in a text.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

namespace drover {

// By byte: 1 where the run goes on, else 0.
using ByteSet = std::array<uint8_t, 256>;

// Where it ends. Eight bytes at a time, without a branch for each: how long a run is cannot be foretold.
inline const char* end_of_run(const ByteSet& goes_on, const char* at, const char* end) {
  while (end - at >= 8) {
    unsigned bits = 0;
    for (unsigned i = 0; i < 8; ++i) bits |= static_cast<unsigned>(goes_on[static_cast<uint8_t>(at[i])]) << i;
    at += std::countr_one(bits);
    if (bits != 0xFF) return at;
  }
  while (at < end && goes_on[static_cast<uint8_t>(*at)] != 0) ++at;
  return at;
}

}  // namespace drover
