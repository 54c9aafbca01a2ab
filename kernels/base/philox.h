// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011), the same numbers for the same (key, counter) everywhere.
#pragma once
#include <array>
#include <cstdint>

namespace drover {

std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high);

// The `index`-th value of the standard normal stream named by (seed, stream): Box-Muller in f64 over one Philox block a pair.
double normal(uint64_t seed, uint64_t stream, uint64_t index);

// A bijection of [0, n) chosen by (seed, round), evaluated in O(1): a Feistel network over Philox, walked until it lands in range.
uint64_t permutation(uint64_t seed, uint64_t round, uint64_t n, uint64_t i);

}  // namespace drover
