#include "kernels/base/philox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/base/error.h"

namespace drover {
namespace {

using Block = std::array<uint32_t, 4>;

// kat_vectors of Random123 (philox4x32, 10 rounds): counter words c0..c3, key words k0, k1, least significant first.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32(0, 0, 0), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32(~0ull, ~0ull, ~0ull), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, NormalHasTheMomentsAndTailsOfANormal) {
  constexpr int kCount = 200000;
  double sum = 0, squares = 0, cubes = 0, fourths = 0, neighbours = 0, last = 0;
  int beyond_two = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double x = normal(7, 3, i);
    sum += x, squares += x * x, cubes += x * x * x, fourths += x * x * x * x, neighbours += x * last;
    beyond_two += std::abs(x) > 2;
    last = x;
  }
  const double sigma = 1 / std::sqrt(kCount);  // bounds: five standard errors
  EXPECT_NEAR(sum / kCount, 0, 5 * sigma);
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2) * sigma);
  EXPECT_NEAR(cubes / kCount, 0, 5 * std::sqrt(15) * sigma);
  EXPECT_NEAR(fourths / kCount, 3, 5 * std::sqrt(96) * sigma);
  EXPECT_NEAR(neighbours / kCount, 0, 5 * sigma);
  EXPECT_NEAR(beyond_two / static_cast<double>(kCount), 0.0455003, 5 * 0.2084 * sigma);
}

TEST(Philox, NormalStreamsAndSeedsDiffer) {
  EXPECT_EQ(normal(1, 2, 3), normal(1, 2, 3));
  EXPECT_NE(normal(1, 2, 3), normal(2, 2, 3));
  EXPECT_NE(normal(1, 2, 3), normal(1, 3, 3));
  EXPECT_NE(normal(1, 2, 3), normal(1, 2, 4));
  EXPECT_TRUE(std::isfinite(normal(1, 2, ~0ull)));
}

TEST(Permutation, IsABijection) {
  for (uint64_t n : {1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 63, 65, 1000, 4096, 4097})
    for (uint64_t round = 0; round < 4; ++round) {
      std::vector<int> seen(n, 0);
      for (uint64_t i = 0; i < n; ++i) {
        const uint64_t to = permutation(11, round, n, i);
        ASSERT_LT(to, n);
        ++seen[to];
      }
      for (int times : seen) ASSERT_EQ(times, 1) << n;
    }
}

TEST(Permutation, HugeRangesStayInRange) {
  for (uint64_t n : {(1ull << 32) + 1, (1ull << 63) + 1, ~0ull}) {
    EXPECT_LT(permutation(5, 0, n, 0), n);
    EXPECT_NE(permutation(5, 0, n, 0), permutation(5, 0, n, n - 1));
  }
  EXPECT_THROW(permutation(5, 0, 4, 4), Error);
  // A run's order of samples never changes: docs/data_format.md names these.
  EXPECT_EQ(permutation(1, 0, 1000, 0), 740u);
  EXPECT_EQ(permutation(3, 2, 90036, 77), 38641u);
}

// Over many (seed, round) each of the 24 orders of 4 must come equally often, and for each i each place: chi-square, 23 degrees of
// freedom, 99.99 % point 56.
TEST(Permutation, OrdersOfFourAreEquallyLikely) {
  constexpr int kTrials = 24000;
  std::vector<int> orders(256, 0);
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    size_t code = 0;
    for (uint64_t i = 0; i < 4; ++i) code = code * 4 + permutation(trial / 100, trial % 100, 4, i);
    ++orders[code];
  }
  double chi = 0;
  int distinct = 0;
  for (int count : orders)
    if (count > 0) chi += (count - 1000.0) * (count - 1000.0) / 1000.0, ++distinct;
  // A balanced network over 4 values reaches even and odd orders alike.
  EXPECT_EQ(distinct, 24);
  EXPECT_LT(chi, 56);
}

// 1000 -> 1000: the place of each i, in 10 bins of 100, over 100 rounds; 99 degrees of freedom for the 10 x 10 table of bins.
TEST(Permutation, PlacesAreUniformAndRoundsDiffer) {
  std::vector<int> bins(100, 0);
  int fixed = 0, repeated = 0;
  for (uint64_t round = 0; round < 100; ++round)
    for (uint64_t i = 0; i < 1000; ++i) {
      const uint64_t to = permutation(3, round, 1000, i);
      ++bins[i / 100 * 10 + to / 100];
      fixed += to == i;
      repeated += to == permutation(3, round + 1, 1000, i);
    }
  double chi = 0;
  for (int count : bins) chi += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi, 160);             // 81 degrees of freedom: far beyond the 99.99 % point
  EXPECT_GT(chi, 20);              // and not suspiciously even
  EXPECT_NEAR(fixed, 100, 50);     // one fixed point a permutation
  EXPECT_NEAR(repeated, 100, 50);  // and one coincidence with the next
}

}  // namespace
}  // namespace drover
