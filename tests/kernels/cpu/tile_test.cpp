#include "kernels/cpu/tile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/base/philox.h"
#include "kernels/cpu/tile_amx.h"
#include "tests/kernels/cpu/memory_tiles.h"

namespace drover::cpu {
namespace {

std::vector<Bf16> random_bf16(int64_t count, uint64_t stream) {
  std::vector<Bf16> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = Bf16(static_cast<float>(normal(3, stream, i)));
  return values;
}

const uint32_t* words(const std::vector<Bf16>& values) { return reinterpret_cast<const uint32_t*>(values.data()); }

struct Sizes {
  int64_t m, n, k;
};

// A B in double, and |A| |B|, which bounds the rounding of any order of additions.
struct Exact {
  std::vector<double> sum, magnitude;
  Exact(const Sizes& s, const std::vector<Bf16>& a, const std::vector<Bf16>& b)
      : sum(static_cast<size_t>(s.m * s.n)), magnitude(static_cast<size_t>(s.m * s.n)) {
    for (int64_t i = 0; i < s.m; ++i)
      for (int64_t j = 0; j < s.n; ++j)
        for (int64_t l = 0; l < s.k; ++l) {
          const double product = static_cast<double>(static_cast<float>(a[static_cast<size_t>(i * s.k + l)])) *
                                 static_cast<double>(static_cast<float>(b[static_cast<size_t>(l * s.n + j)]));
          sum[static_cast<size_t>(i * s.n + j)] += product;
          magnitude[static_cast<size_t>(i * s.n + j)] += std::abs(product);
        }
  }
};

// Whichever instructions the processor has, and those that all have.
TEST(Tile, PairProductsAreProductsOfBf16) {
  for (const Sizes& s : {Sizes{1, 16, 2}, Sizes{3, 16, 6}, Sizes{9, 32, 64}, Sizes{64, 64, 64}, Sizes{13, 112, 30},
                         Sizes{70, 48, 100}, Sizes{64, 128, 128}}) {
    const std::vector<Bf16> a = random_bf16(s.m * s.k, 1), b = random_bf16(s.k * s.n, 2);
    std::vector<uint32_t> zipped(static_cast<size_t>(s.k / 2 * s.n));
    zip_rows(zipped.data(), b.data(), s.k, s.n);
    const Exact exact(s, a, b);
    for (const auto product : {+[](float*c, const Sizes&z, const uint32_t*left, const uint32_t*right) {
                                 const PairProducts products;
                                 tile_product(c, z.n, {left, z.k / 2, 1}, right, z.n, z.m, z.n, z.k / 2, true);
                               },
                               +[](float*c, const Sizes&z, const uint32_t*left, const uint32_t*right) {
                                 MemoryTiles::begin();
                                 tile_product_by<MemoryTiles>(c, z.n, {left, z.k / 2, 1}, right, z.n, z.m, z.n, z.k / 2, true);
                                 MemoryTiles::end();
                               },
                               +[](float*c, const Sizes&z, const uint32_t*left, const uint32_t*right) {
                                 tile_product_portable(c, z.n, {left, z.k / 2, 1}, right, z.n, z.m, z.n, z.k / 2, true);
                               }}) {
      std::vector<float> c(static_cast<size_t>(s.m * s.n), 0.5f);
      product(c.data(), s, words(a), zipped.data());
      for (size_t i = 0; i < c.size(); ++i)
        ASSERT_NEAR(c[i], 0.5 + exact.sum[i], 1e-6 * (1 + exact.magnitude[i])) << s.m << " " << s.n << " " << s.k << " at " << i;
    }
  }
}

// A transposed left operand: pairs along its rows, read with strides.
TEST(Tile, PairProductsOfATransposedOperand) {
  for (const Sizes& s : {Sizes{64, 32, 16}, Sizes{64, 64, 64}, Sizes{40, 48, 132}}) {
    const std::vector<Bf16> a = random_bf16(s.m * s.k, 1), b = random_bf16(s.k * s.n, 2);
    std::vector<Bf16> transposed(a.size());
    for (int64_t i = 0; i < s.m; ++i)
      for (int64_t l = 0; l < s.k; ++l) transposed[static_cast<size_t>(l * s.m + i)] = a[static_cast<size_t>(i * s.k + l)];
    std::vector<uint32_t> left(static_cast<size_t>(s.k / 2 * s.m)), right(static_cast<size_t>(s.k / 2 * s.n));
    zip_rows(left.data(), transposed.data(), s.k, s.m);
    zip_rows(right.data(), b.data(), s.k, s.n);
    const Exact exact(s, a, b);
    const auto expect_exact = [&](const auto& product) {
      std::vector<float> c(static_cast<size_t>(s.m * s.n), std::nanf(""));
      product(c.data(), s.n, StridedTile<uint32_t>{left.data(), 1, s.m}, right.data(), s.n, s.m, s.n, s.k / 2, false);
      for (size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], exact.sum[i], 1e-6 * (1 + exact.magnitude[i])) << i;
    };
    {
      const PairProducts products;
      expect_exact([](auto... arguments) { tile_product(arguments...); });
    }
    MemoryTiles::begin();
    expect_exact([](auto... arguments) { tile_product_by<MemoryTiles>(arguments...); });
    MemoryTiles::end();
  }
}

// Of lengths that fill vectors, and of others.
TEST(Tile, F32IsRoundedToNearestEven) {
  const std::vector<float> special = {1.0f + 1.0f / 256, -2.5f,    3e38f,     3.4e38f, 0.0f,
                                      1.0f + 3.0f / 256, INFINITY, -INFINITY, -0.0f,   1e-30f};
  for (const int64_t width : {4, 16, 64}) {
    std::vector<float> rows(static_cast<size_t>(4 * width));
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = i < special.size() ? special[i] : static_cast<float>(normal(8, 1, i)) * (i % 3 == 0 ? 1.0f : 1e-20f);
    std::vector<uint32_t> zipped(static_cast<size_t>(2 * width));
    zip_rows(zipped.data(), rows.data(), 4, width);
    std::vector<Bf16> narrowed(rows.size());
    narrow(narrowed.data(), rows.data(), 4 * width);
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t j = 0; j < width; ++j) {
        const auto at = static_cast<size_t>(r * width + j);
        EXPECT_EQ(narrowed[at].bits, Bf16(rows[at]).bits) << rows[at];
        EXPECT_EQ(zipped[static_cast<size_t>(r / 2 * width + j)] >> (r % 2 * 16) & 0xffffu, Bf16(rows[at]).bits) << rows[at];
      }
    rows[5] = NAN;
    narrow(narrowed.data(), rows.data(), 4 * width);
    EXPECT_TRUE(std::isnan(static_cast<float>(narrowed[5])));
  }
}

TEST(Tile, TransposedWordsKeepTheirPairs) {
  constexpr int64_t kRows = 48, kColumns = 32, kApart = 40, kApartTransposed = 64;
  std::vector<uint32_t> from(kRows * kApart), to(kColumns * kApartTransposed);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint32_t>(0x7fa00000u + i);  // signalling NaNs, were they numbers
  transpose(to.data(), kApartTransposed, from.data(), kApart, kRows, kColumns);
  for (int64_t column = 0; column < kColumns; ++column)
    for (int64_t row = 0; row < kApartTransposed; ++row)
      ASSERT_EQ(to[static_cast<size_t>(column * kApartTransposed + row)],
                row < kRows ? from[static_cast<size_t>(row * kApart + column)] : 0u);
}

}  // namespace
}  // namespace drover::cpu
