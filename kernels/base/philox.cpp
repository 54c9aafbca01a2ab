#include "kernels/base/philox.h"

#include <bit>
#include <cmath>
#include <numbers>
#include <string>

#include "kernels/base/error.h"

namespace drover {

namespace {

constexpr int kFeistelRounds = 8;  // 4 would do in theory; small domains look better with more

double unit_interval(uint32_t high, uint32_t low) {  // [0, 1), 53 bits
  const uint64_t bits = (static_cast<uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

// One pass of a balanced Feistel network over 2 * half_bits bits; half_bits <= 32.
uint64_t feistel(uint64_t seed, uint64_t round, int half_bits, uint64_t value) {
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t left = value >> half_bits, right = value & mask;
  for (uint64_t turn = 0; turn < kFeistelRounds; ++turn) {
    const uint64_t mixed = left ^ (philox4x32(seed, turn << 32 | right, round)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits | right;
}

}  // namespace

std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  std::array<uint32_t, 4> c{low(counter_low), high(counter_low), low(counter_high), high(counter_high)};
  uint32_t k0 = low(key), k1 = high(key);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {high(p1) ^ c[1] ^ k0, low(p1), high(p0) ^ c[3] ^ k1, low(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

double normal(uint64_t seed, uint64_t stream, uint64_t index) {
  const std::array<uint32_t, 4> block = philox4x32(seed, index / 2, stream);
  const double radius = std::sqrt(-2 * std::log(unit_interval(block[0], block[1]) + 0x1p-53));
  const double angle = 2 * std::numbers::pi * unit_interval(block[2], block[3]);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

uint64_t permutation(uint64_t seed, uint64_t round, uint64_t n, uint64_t i) {
  DROVER_CHECK(i < n, "permutation of " + std::to_string(n) + " asked for " + std::to_string(i));
  if (n == 1) return 0;
  const int half_bits = (std::bit_width(n - 1) + 1) / 2;  // a domain below 4 n: two steps of the walk on average, at most
  uint64_t value = i;
  do {
    value = feistel(seed, round, half_bits, value);
  } while (value >= n);
  return value;
}

}  // namespace drover
