#include "kernels/reduction.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

double sum_of(const Tensor& x, double start = 0) {
  Stream stream(testing::device());
  Tensor sum(DType::f64, {1}), scratch(DType::f64, {kSumOfSquaresScratch});
  scratch.fill(NAN);
  sum.set(0, start);
  sum_of_squares(stream, sum, x, scratch);
  return sum.get(0);
}

TEST(SumOfSquares, MatchesLongDoubleAndAddsToWhatIsThere) {
  for (int64_t count : {0, 1, 2, 63, 64, 65, 1000, 100003}) {
    const Tensor x = testing::random_tensor(DType::f32, {count}, 1, 10);
    long double expected = 5;
    for (double value : x.values()) expected += static_cast<long double>(value) * value;
    EXPECT_NEAR(sum_of(x, 5) / static_cast<double>(expected), 1, 1e-14) << count;
  }
}

TEST(SumOfSquares, FiniteInputsNeverOverflowAndOthersAlwaysShow) {
  Tensor x(DType::f32, {70, 3});
  x.fill(static_cast<double>(std::numeric_limits<float>::max()));
  EXPECT_TRUE(std::isfinite(sum_of(x)));
  for (double bad : {static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL})
    for (int64_t at : {0, 101, 209}) {
      Tensor spoiled(DType::f32, {70, 3});
      spoiled.set(at, bad);
      EXPECT_FALSE(std::isfinite(sum_of(spoiled)));
    }
}

TEST(SumOfSquares, TheThreadCountChangesNoBit) {
  const Tensor x = testing::random_tensor(DType::f32, {200003}, 1);
  set_threads(1);
  const double first = sum_of(x);
  for (int count : {2, 3, 8, 70}) {
    set_threads(count);
    EXPECT_EQ(sum_of(x), first);
  }
}

TEST(SumOfSquares, WrongArgumentsAreRefused) {
  Stream stream(testing::device());
  Tensor x(DType::f32, {4}), bf16(DType::bf16, {4}), sum(DType::f64, {1}), f32_sum(DType::f32, {1}), two(DType::f64, {2}),
      scratch(DType::f64, {kSumOfSquaresScratch});
  EXPECT_THROW(sum_of_squares(stream, sum, bf16, scratch), Error);
  EXPECT_THROW(sum_of_squares(stream, f32_sum, x, scratch), Error);
  EXPECT_THROW(sum_of_squares(stream, two, x, scratch), Error);
  EXPECT_THROW(sum_of_squares(stream, sum, x, sum), Error);
  sum_of_squares(stream, sum, x, scratch);
  EXPECT_EQ(stream.totals(OpKind::reduction).bytes, 16);
}

}  // namespace
}  // namespace drover
