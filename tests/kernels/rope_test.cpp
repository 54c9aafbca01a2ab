#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <complex>
#include <numbers>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::max_error;
using testing::random_tensor;
using testing::Tensor;

struct Case {
  int64_t tokens, heads, kv_heads, head_dim;
};
const std::vector<Case> kCases = {{1, 1, 0, 2}, {3, 4, 2, 6}, {5, 2, 2, 64}, {17, 8, 1, 10}, {9, 3, 3, 128}};

struct Table {
  Tensor cosine, sine;
  Table(int64_t positions, int64_t head_dim)
      : cosine(DType::f32, {positions, head_dim / 2}), sine(DType::f32, {positions, head_dim / 2}) {
    Stream stream(testing::device());
    rope_table(stream, cosine, sine, rope_frequencies(head_dim, 10000, {}));
  }
};

// Rotation as a product of complex numbers, angles in f64.
std::vector<double> reference(const std::vector<double>& qkv, const std::vector<double>& positions, const Case& c, double sign) {
  std::vector<double> out = qkv;
  const int64_t half = c.head_dim / 2, all = c.heads + 2 * c.kv_heads;
  for (int64_t t = 0; t < c.tokens; ++t)
    for (int64_t head = 0; head < c.heads + c.kv_heads; ++head)
      for (int64_t j = 0; j < half; ++j) {
        const size_t low = static_cast<size_t>((t * all + head) * c.head_dim + j), high = low + static_cast<size_t>(half);
        const double angle =
            positions[static_cast<size_t>(t)] * std::pow(10000.0, -2.0 * static_cast<double>(j) / static_cast<double>(c.head_dim));
        const auto turned = std::complex<double>(qkv[low], qkv[high]) * std::polar(1.0, sign * angle);
        out[low] = turned.real();
        out[high] = turned.imag();
      }
  return out;
}

TEST(Rope, ForwardAndBackwardMatchTheReference) {
  constexpr int64_t kPositions = 50;
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : kCases) {
      Stream stream(testing::device());
      const Table table(kPositions, c.head_dim);
      const Tensor original = random_tensor(dtype, {c.tokens, c.heads + 2 * c.kv_heads, c.head_dim}, 1);
      const Tensor positions = testing::random_indices({c.tokens}, kPositions, 2);
      Tensor forward = original, backward = original;
      rope_forward(stream, forward, positions, table.cosine, table.sine, c.kv_heads);
      rope_backward(stream, backward, positions, table.cosine, table.sine, c.kv_heads);
      const double bound = dtype == DType::bf16 ? 0x1p-8 : 5e-6;
      EXPECT_LT(max_error(forward, reference(original.values(), positions.values(), c, 1)), bound);
      EXPECT_LT(max_error(backward, reference(original.values(), positions.values(), c, -1)), bound);
      const int64_t row = original.shape()[1] * c.head_dim, first_v = row - c.kv_heads * c.head_dim;
      for (int64_t t = 0; t < c.tokens; ++t)
        for (int64_t i = first_v; i < row; ++i) ASSERT_EQ(forward.get(t * row + i), original.get(t * row + i));
    }
}

TEST(Rope, BackwardMatchesTheNumericalGradient) {
  const Case c{3, 2, 1, 6};
  Stream stream(testing::device());
  const Table table(20, c.head_dim);
  const Tensor x = random_tensor(DType::f32, {3, 4, 6}, 1), dy = random_tensor(DType::f32, {3, 4, 6}, 2);
  const Tensor positions = testing::from_values(DType::i32, {3}, {0, 19, 7});
  Tensor dx = dy;
  rope_backward(stream, dx, positions, table.cosine, table.sine, c.kv_heads);
  const auto expected = testing::numerical_gradient(x.values(), [&](const std::vector<double>& point) {
    const std::vector<double> y = reference(point, positions.values(), c, 1);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy.get(static_cast<int64_t>(i));
    return sum;
  });
  EXPECT_LT(max_error(dx, expected), 1e-5);
}

TEST(Rope, TableIsTheRoundedCosineOfTheF32Angle) {
  const std::vector<float> frequencies = rope_frequencies(64, 500000, {});
  Tensor cosine(DType::f32, {3000, 32}), sine(DType::f32, {3000, 32});
  Stream stream(testing::device());
  rope_table(stream, cosine, sine, frequencies);
  for (int64_t position : {0, 1, 2047, 2999})
    for (int64_t j : {0, 1, 15, 31}) {
      const float angle = static_cast<float>(position) * frequencies[static_cast<size_t>(j)];
      EXPECT_EQ(static_cast<float>(cosine.get(position * 32 + j)), static_cast<float>(std::cos(static_cast<double>(angle))));
      EXPECT_EQ(static_cast<float>(sine.get(position * 32 + j)), static_cast<float>(std::sin(static_cast<double>(angle))));
    }
}

// The published scaling in f64: frequencies below the band divided by the factor, above it kept, blended linearly in 1 /
// wavelength.
TEST(Rope, Llama31ScalingMatchesItsFormula) {
  const RopeScaling scaling{8, 1, 4, 8192};
  const std::vector<float> plain = rope_frequencies(128, 500000, {}), scaled = rope_frequencies(128, 500000, scaling);
  int kept = 0, divided = 0, blended = 0;
  for (size_t j = 0; j < 64; ++j) {
    const double frequency = std::pow(500000.0, -static_cast<double>(j) / 64);
    EXPECT_NEAR(plain[j] / frequency, 1, 3e-7) << j;
    const double turns = 8192 * frequency / (2 * std::numbers::pi);  // context over wavelength
    const double blend = std::clamp((turns - 1) / 3, 0.0, 1.0);
    const double expected = (1 - blend) * frequency / 8 + blend * frequency;
    EXPECT_NEAR(scaled[j] / expected, 1, 1e-6) << j;
    (blend == 0 ? divided : blend == 1 ? kept : blended) += 1;
    if (blend == 1) {
      EXPECT_EQ(scaled[j], plain[j]);
    }
    if (blend == 0) {
      EXPECT_EQ(scaled[j], plain[j] / 8);
    }
  }
  EXPECT_GT(kept, 10);
  EXPECT_GT(blended, 3);
  EXPECT_GT(divided, 10);
}

TEST(Rope, TheThreadCountChangesNoBit) {
  const Table table(100, 10);
  const Tensor original = random_tensor(DType::bf16, {999, 5, 10}, 1), positions = testing::random_indices({999}, 100, 2);
  Tensor first = original;
  for (int count : {1, 2, 7}) {
    set_threads(count);
    Stream stream(testing::device());
    Tensor again = original;
    rope_forward(stream, again, positions, table.cosine, table.sine, 1);
    if (count == 1) first = again;
    EXPECT_TRUE(first.same_bits(again));
  }
}

// A real GPU would trap, and do no more for this process.
TEST(Rope, PositionsOutsideTheTableAreRefused) {
  Stream stream(testing::device());
  Table table(10, 8);
  Tensor qkv(DType::f32, {2, 4, 8}), far(DType::i32, {2});
  far.set(1, 10);
  const auto apply = [&](auto rope) {
    rope(stream, qkv, far, table.cosine, table.sine, 1);
    stream.synchronize();
  };
  EXPECT_THROW(apply(rope_forward), Error);
  far.set(1, -1);
  EXPECT_THROW(apply(rope_backward), Error);
}

TEST(Rope, WrongArgumentsAreRefused) {
  Stream stream(testing::device());
  Table table(10, 8);
  Tensor qkv(DType::f32, {2, 4, 8}), odd(DType::f32, {2, 4, 7}), positions(DType::i32, {2});
  EXPECT_THROW(rope_forward(stream, odd, positions, table.cosine, table.sine, 1), Error);
  EXPECT_THROW(rope_forward(stream, qkv, positions, table.cosine, table.sine, 3), Error);
  EXPECT_THROW(rope_forward(stream, qkv, Tensor(DType::f32, {2}), table.cosine, table.sine, 1), Error);
  Tensor narrow(DType::f32, {10, 3});
  EXPECT_THROW(rope_table(stream, table.cosine, narrow, rope_frequencies(8, 10000, {})), Error);
  stream.reset_totals();
  rope_forward(stream, qkv, positions, table.cosine, table.sine, 1);
  EXPECT_EQ(stream.totals(OpKind::rope).calls, 1);
  EXPECT_EQ(stream.totals(OpKind::rope).flops, 3 * 2 * 3 * 8);
}

}  // namespace
}  // namespace drover
