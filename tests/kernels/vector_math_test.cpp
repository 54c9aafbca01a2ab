#include "kernels/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/simd.h"

namespace drover::cpu {
namespace {

std::vector<float> vector_exp(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const float* in = x.data();
  float* out = y.data();
  simd_elements(
      static_cast<int64_t>(x.size()), [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) out[i] = exp_f32(in[i]);
      });
  return y;
}

TEST(VectorMath, ExpIsWithinAboutOneUlpOfEveryF32) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 4801) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (!std::isnan(value)) x.push_back(value);
  }
  for (int i = -1050000; i < 900000; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
  const std::vector<float> y = vector_exp(x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    const float rounded = static_cast<float>(exact);
    if (std::isinf(rounded) || std::isinf(y[i])) {
      ASSERT_EQ(y[i], rounded) << x[i];
      continue;
    }
    const double ulp = std::max(std::ldexp(1.0, std::ilogb(std::max(exact, 1e-300)) - 23), 0x1p-149);
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / ulp);
  }
  EXPECT_LT(worst, 1.1);
}

TEST(VectorMath, ExpAtTheEnds) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exp_f32(0), 1.0f);
  EXPECT_EQ(exp_f32(infinity), infinity);
  EXPECT_EQ(exp_f32(-infinity), 0.0f);
  EXPECT_EQ(exp_f32(89), infinity);
  EXPECT_EQ(exp_f32(-104), 0.0f);
  EXPECT_GT(exp_f32(-103), 0.0f);
  EXPECT_TRUE(std::isnan(exp_f32(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(exp_f32(-std::numeric_limits<float>::quiet_NaN())));
  EXPECT_EQ(sigmoid_f32(infinity), 1.0f);
  EXPECT_EQ(sigmoid_f32(-infinity), 0.0f);
  EXPECT_EQ(sigmoid_f32(0), 0.5f);
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
