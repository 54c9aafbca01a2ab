#include "kernels/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/simd.h"

namespace drover::cpu {
namespace {

template <class Function> std::vector<float> vectorised(const std::vector<float>& x, const Function& function) {
  std::vector<float> y(x.size());
  const float* in = x.data();
  float* out = y.data();
  simd_elements(
      static_cast<int64_t>(x.size()), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) out[i] = function(in[i]);
      });
  return y;
}

double ulp(double exact) { return std::ldexp(1.0, std::ilogb(exact) - 23); }

// Every f32 in range, thinned.
template <class Body> void for_each_float(float low, float high, Body&& body) {
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 4801) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (value >= low && value <= high) body(value);
  }
  for (int64_t i = static_cast<int64_t>(low * 1e4f); i <= static_cast<int64_t>(high * 1e4f); ++i)
    body(static_cast<float>(i) * 1e-4f);
}

TEST(VectorMath, PowersOfTwoAreWithinAboutOneUlp) {
  std::vector<float> x;
  for_each_float(-126, 127.999f, [&](float value) { x.push_back(value); });
  const std::vector<float> y = vectorised(
      x, [](float value) __attribute__((always_inline)) { return exp2_f32(value); });
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp2(static_cast<double>(x[i]));
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / ulp(exact));
  }
  EXPECT_LT(worst, 1.1);
}

TEST(VectorMath, ExponentialsAndSigmoidsHaveTheErrorThatIsSaid) {
  std::vector<float> x;
  for_each_float(-87, 87, [&](float value) { x.push_back(value); });
  const auto e = vectorised(
      x, [](float value) __attribute__((always_inline)) { return exp_f32(value < 0 ? value : -value); });
  const auto s = vectorised(
      x, [](float value) __attribute__((always_inline)) { return sigmoid_f32(value); });
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = static_cast<double>(x[i]), exact = std::exp(-std::abs(value)), sigmoid = 1 / (1 + std::exp(-value));
    const double error = (std::abs(value) + 1.1) * 0x1p-23;  // of the exponential
    ASSERT_NEAR(e[i], exact, error * exact) << x[i];
    // d ln sigmoid / d ln e^-x = sigmoid - 1, and two roundings more.
    ASSERT_NEAR(s[i], sigmoid, (error * (1 - sigmoid) + 0x1p-23) * sigmoid) << x[i];
  }
}

TEST(VectorMath, ExponentialsAtTheEnds) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(exp2_f32(0), 1.0f);
  EXPECT_EQ(exp2_f32(-126), 0x1p-126f);
  EXPECT_EQ(exp2_f32(-infinity), 0x1p-126f);
  EXPECT_EQ(exp2_f32(128), infinity);
  EXPECT_EQ(exp_f32(0), 1.0f);
  EXPECT_EQ(exp_f32(-infinity), 0x1p-126f);
  EXPECT_EQ(sigmoid_f32(infinity), 1.0f);
  EXPECT_EQ(sigmoid_f32(-infinity), 0.0f);
  EXPECT_EQ(sigmoid_f32(0), 0.5f);
  for (const float x : {nan, -nan}) EXPECT_TRUE(std::isnan(exp2_f32(x)) && std::isnan(exp_f32(x)) && std::isnan(sigmoid_f32(x)));
}

TEST(VectorMath, LaneSumAddsEveryTermOnce) {
  for (int64_t count : {0, 1, 31, 32, 33, 63, 64, 1000}) {
    const float sum = lane_sum<float>(count, [](int64_t i) { return static_cast<float>(i + 1); });
    const int64_t expected = count * (count + 1) / 2;
    EXPECT_EQ(sum, static_cast<float>(expected)) << count;
  }
}

}  // namespace
}  // namespace drover::cpu
