#include "kernels/elementwise.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

const std::vector<Shape> kShapes = {{1, 1}, {3, 7}, {5, 64}, {67, 65}, {300, 129}};

TEST(Elementwise, FillAndCopyTouchEveryByteAndNoOther) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8}) {
    Stream stream(testing::device());
    Tensor x(dtype, {100001}), y(dtype, {100001});
    x.fill(3);
    copy(stream, y, x);
    EXPECT_TRUE(y.same_bits(x));
    fill_zero(stream, x.view().slice(1, {99999}));
    EXPECT_EQ(x.get(0), 3);
    EXPECT_EQ(x.get(100000), 3);
    for (int64_t i = 1; i < 100000; ++i) ASSERT_EQ(x.get(i), 0);
  }
}

TEST(Elementwise, CastRoundsLikeTheTypeAndWidensExactly) {
  for (const Shape& shape : kShapes) {
    Stream stream(testing::device());
    Tensor wide = random_tensor(DType::f32, shape, 1, 1e3), narrow(DType::bf16, shape), back(DType::f32, shape);
    wide.set(0, NAN);
    cast(stream, narrow, wide);
    cast(stream, back, narrow);
    for (int64_t i = 0; i < wide.count(); ++i) {
      if (i == 0) continue;
      ASSERT_EQ(narrow.view().as<Bf16>()[i].bits, Bf16(wide.view().as<float>()[i]).bits);
      ASSERT_EQ(back.get(i), narrow.get(i));
    }
    EXPECT_TRUE(std::isnan(narrow.get(0)) && std::isnan(back.get(0)));
    Tensor same(DType::f32, shape);
    cast(stream, same, wide);
    EXPECT_TRUE(same.same_bits(wide));
  }
}

TEST(Elementwise, AddRoundsOnceAndMayWriteOverAnOperand) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Stream stream(testing::device());
      const Tensor a = random_tensor(dtype, shape, 1), b = random_tensor(dtype, shape, 2);
      Tensor y(dtype, shape), over_a = a, over_b = b, expected(dtype, shape);
      for (int64_t i = 0; i < a.count(); ++i) expected.set(i, static_cast<float>(a.get(i)) + static_cast<float>(b.get(i)));
      add(stream, y, a, b);
      add(stream, over_a, over_a, b);
      add(stream, over_b, a, over_b);
      EXPECT_TRUE(y.same_bits(expected) && over_a.same_bits(expected) && over_b.same_bits(expected)) << to_string(shape);
    }
}

TEST(Elementwise, BiasForwardAndItsTransposeBackward) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Stream stream(testing::device());
      const Tensor x = random_tensor(dtype, shape, 1), bias = random_tensor(dtype, {shape[1]}, 2);
      Tensor y = x, expected(dtype, shape), dbias = random_tensor(DType::f32, {shape[1]}, 3);
      std::vector<double> sums = dbias.values();
      for (int64_t i = 0; i < x.count(); ++i) {
        expected.set(i, static_cast<float>(x.get(i)) + static_cast<float>(bias.get(i % shape[1])));
        sums[static_cast<size_t>(i % shape[1])] += x.get(i);
      }
      bias_forward(stream, y, bias);
      EXPECT_TRUE(y.same_bits(expected));
      bias_backward(stream, dbias, x);
      EXPECT_LT(testing::max_error(dbias, sums), 3e-6) << to_string(shape);
    }
}

TEST(Elementwise, BiasBackwardSumsInTheOrderOfTokensWithAnyThreadCount) {
  Stream stream(testing::device());
  Tensor order(DType::f32, {1});
  bias_backward(stream, order, testing::from_values(DType::f32, {3, 1}, {1e8, 1, -1e8}));
  EXPECT_EQ(order.get(0), 0);
  const Tensor dy = random_tensor(DType::f32, {500, 333}, 1);
  Tensor first(DType::f32, {333});
  for (int count : {1, 2, 5}) {
    set_threads(count);
    Tensor dbias(DType::f32, {333});
    bias_backward(stream, dbias, dy);
    if (count == 1) first = dbias;
    EXPECT_TRUE(first.same_bits(dbias));
  }
}

TEST(Elementwise, WrongArgumentsAreRefused) {
  Stream stream(testing::device());
  Tensor f32(DType::f32, {6}), matrix(DType::f32, {2, 3}), bf16(DType::bf16, {6}), i32(DType::i32, {6}), five(DType::f32, {5});
  EXPECT_THROW(copy(stream, f32, five), Error);
  EXPECT_THROW(copy(stream, f32, i32), Error);
  EXPECT_THROW(cast(stream, f32, i32), Error);
  EXPECT_THROW(cast(stream, bf16, five), Error);
  EXPECT_THROW(add(stream, f32, f32, five), Error);
  EXPECT_THROW(add(stream, i32, i32, i32), Error);
  EXPECT_THROW(bias_forward(stream, matrix, five), Error);
  EXPECT_THROW(bias_backward(stream, five, matrix), Error);
  copy(stream, f32, matrix);  // only the count must agree
  cast(stream, bf16, matrix);
  EXPECT_EQ(stream.totals(OpKind::elementwise).bytes, 48 + 36);
}

}  // namespace
}  // namespace drover
