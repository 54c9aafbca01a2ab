#include "kernels/base/philox.h"

#include <cmath>
#include <numbers>

namespace drover {

std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * c0, p1 = kMultiplier1 * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

double normal(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto block = philox4x32(seed, index / 2, stream);
  const auto unit = [](uint32_t high, uint32_t low) {  // in (0, 1): 52 random bits and a half, so that the logarithm is finite
    return (static_cast<double>((static_cast<uint64_t>(high) << 20) | (low >> 12)) + 0.5) * 0x1p-52;
  };
  const double radius = std::sqrt(-2.0 * std::log(unit(block[0], block[1])));
  const double angle = 2.0 * std::numbers::pi * unit(block[2], block[3]);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

uint64_t permutation(uint64_t seed, uint64_t round, uint64_t n, uint64_t i) {
  // Balanced Feistel network over the smallest even number of bits that holds n; a result outside [0, n) is permuted again ("cycle
  // walking", Black & Rogaway 2002), which keeps it a bijection and takes fewer than four turns on average.
  int half = 1;
  while (half < 32 && (uint64_t{1} << (2 * half)) < n) ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = i;
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t turn = 0; turn < 6; ++turn) {
      const auto block = philox4x32(seed, right, (round << 8) | turn);
      const uint64_t next = left ^ (block[0] & mask);
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= n);
  return value;
}

}  // namespace drover
