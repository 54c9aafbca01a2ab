#include "kernels/gemm_algorithms.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "kernels/base/threads.h"
#include "kernels/gemm.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

// c = a b^T
struct Operands {
  static constexpr int64_t kRows = 24, kColumns = 40, kTerms = 96;
  Tensor a{DType::bf16, {kRows, kTerms}}, b{DType::bf16, {kColumns, kTerms}}, c{DType::f32, {kRows, kColumns}};
  Tensor scratch{DType::u8, {gemm_scratch_bytes(DType::bf16, kRows, kColumns, kTerms, threads(), testing::device())}};

  Operands() {
    for (int64_t i = 0; i < a.count(); ++i) a.set(i, normal(1, 1, static_cast<uint64_t>(i)));
    for (int64_t i = 0; i < b.count(); ++i) b.set(i, normal(1, 2, static_cast<uint64_t>(i)));
  }
  GemmCall call() { return {c, a, false, b, true, 0, scratch}; }
  Tensor product(Stream& stream) {
    gemm(stream, c, a, false, b, true, 0, scratch);
    stream.synchronize();
    return c;
  }
};

TEST(GemmAlgorithms, OfTimesThatAreAlikeTheEarliestIsTaken) {
  const double fails = std::numeric_limits<double>::infinity();
  const auto best = [](std::vector<double> seconds) { return fastest_of(seconds); };
  EXPECT_EQ(best({3}), 0u);
  EXPECT_EQ(best({3, 2, 2.5}), 1u);
  EXPECT_EQ(best({3, 2.015, 2}), 1u) << "within 1 %";
  EXPECT_EQ(best({3, 2.025, 2}), 2u);
  EXPECT_EQ(best({fails, 2, fails}), 1u);
  EXPECT_EQ(best({fails, fails}), 0u);
}

TEST(GemmAlgorithms, AShapeIsWhatAnAlgorithmDependsOn) {
  Operands operands;
  const GemmShape shape = shape_of(operands.call());
  EXPECT_EQ(std::tuple(shape.m, shape.n, shape.k), std::tuple(24, 40, 96));
  EXPECT_EQ(to_string(shape), "bf16 [24, 96] times [40, 96]^T to f32");
  GemmCall moved = operands.call();
  moved.a.data += size_of(DType::bf16);
  EXPECT_EQ(shape_of(moved).align_a, size_of(DType::bf16));
  EXPECT_NE(shape_of(moved), shape);
}

TEST(GemmAlgorithms, ProductsThatAreNotedAreNotComputed) {
  Operands operands;
  Stream stream(testing::device());
  {
    const NotedProducts noted(stream);
    operands.product(stream);
    ASSERT_EQ(noted.calls().size(), 1u);
    EXPECT_EQ(shape_of(noted.calls()[0]), shape_of(operands.call()));
    EXPECT_EQ(operands.c.get(0), 0);
    EXPECT_EQ(stream.totals(OpKind::gemm).calls, 0);
  }
  operands.product(stream);
  EXPECT_NE(operands.c.get(0), 0);
}

class GemmAlgorithmsOnAGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::device().type != DeviceType::cuda) GTEST_SKIP() << "cuBLASLt is for GPUs";
  }
  void TearDown() override { unsetenv("DROVER_SIMT_SPEEDS"); }
};

// The stand-in draws the speeds anew for each of its numbers; on a GPU the same one is the fastest each time.
TEST_F(GemmAlgorithmsOnAGpu, TheFastestOfTheProposalsIsTakenAndGivesTheSameBits) {
  Operands operands;
  Stream stream(testing::device());
  for (const char* speeds : {"1", "2", "3", "4", "5", "6", "7", "8"}) {
    setenv("DROVER_SIMT_SPEEDS", speeds, 1);
    const TimedAlgorithm timed = fastest_algorithm(stream, operands.call());
    EXPECT_GT(timed.candidates, 1);
    EXPECT_LT(timed.candidate, timed.candidates);
    EXPECT_GT(timed.seconds, 0);
    ASSERT_TRUE(set_algorithm(testing::device(), shape_of(operands.call()), timed.algorithm));
    const Tensor first = operands.product(stream);
    for (int again = 0; again < 3; ++again)
      EXPECT_TRUE(operands.product(stream).same_bits(first)) << "candidate " << timed.candidate;
  }
}

TEST_F(GemmAlgorithmsOnAGpu, WhatIsNoAlgorithmIsRefusedAndChangesNothing) {
  Operands operands;
  Stream stream(testing::device());
  const Tensor before = operands.product(stream);
  GemmAlgorithm nonsense;
  nonsense.fill(std::byte{0xff});
  EXPECT_FALSE(set_algorithm(testing::device(), shape_of(operands.call()), nonsense));
  EXPECT_TRUE(operands.product(stream).same_bits(before));
}

}  // namespace
}  // namespace drover
