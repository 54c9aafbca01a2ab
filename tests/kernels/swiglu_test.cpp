#include "kernels/swiglu.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::max_error;
using testing::random_tensor;
using testing::Tensor;

const std::vector<Shape> kShapes = {{1, 1}, {1, 5}, {3, 33}, {7, 64}, {40, 129}, {1, 300}};

std::vector<double> reference(const std::vector<double>& gate_up, int64_t tokens, int64_t ffn) {
  std::vector<double> y(static_cast<size_t>(tokens * ffn));
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < ffn; ++j) {
      const double g = gate_up[static_cast<size_t>(t * 2 * ffn + j)], u = gate_up[static_cast<size_t>(t * 2 * ffn + ffn + j)];
      y[static_cast<size_t>(t * ffn + j)] = g / (1 + std::exp(-g)) * u;
    }
  return y;
}

TEST(Swiglu, ForwardMatchesTheReference) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Stream stream(testing::device());
      const Tensor gate_up = random_tensor(dtype, {shape[0], 2 * shape[1]}, 1, 3);
      Tensor y(dtype, shape);
      swiglu_forward(stream, y, gate_up);
      EXPECT_LT(max_error(y, reference(gate_up.values(), shape[0], shape[1])), 4 * testing::rounding(dtype)) << to_string(shape);
    }
}

TEST(Swiglu, BackwardMatchesTheNumericalGradientAndRepeatsForward) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Stream stream(testing::device());
      const Tensor gate_up = random_tensor(dtype, {shape[0], 2 * shape[1]}, 1, 2), dy = random_tensor(dtype, shape, 2);
      Tensor y(dtype, shape), again(dtype, shape), dgate_up(dtype, gate_up.shape());
      swiglu_forward(stream, y, gate_up);
      swiglu_backward(stream, dgate_up, again, dy, gate_up);
      EXPECT_TRUE(again.same_bits(y)) << to_string(shape);
      if (shape.count() > 500) continue;  // differences cost count^2
      const auto expected = testing::numerical_gradient(gate_up.values(), [&](const std::vector<double>& point) {
        const std::vector<double> out = reference(point, shape[0], shape[1]);
        double sum = 0;
        for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy.get(static_cast<int64_t>(i));
        return sum;
      });
      EXPECT_LT(max_error(dgate_up, expected), dtype == DType::bf16 ? 0x1p-8 : 1e-6) << to_string(shape);
    }
}

// Recompute relies on it: the same bits wherever an element lies in a row (vector body or remainder), forward and backward.
TEST(Swiglu, BackwardRepeatsForwardBitForBitAtAnyPlaceAndThreadCount) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    Tensor values = random_tensor(dtype, {1, 2 * 1021}, 7, 8);
    for (int64_t j = 0; j < 1021; j += 5) values.set(j, 1e-19f), values.set(1021 + j, 2e-20f);  // denormal results
    Tensor whole(dtype, {1, 1021});
    Stream stream(testing::device());
    swiglu_forward(stream, whole, values);
    for (int64_t ffn : {1, 3, 31, 37}) {
      Tensor gate_up(dtype, {1, 2 * ffn}), y(dtype, {1, ffn}), again(dtype, {1, ffn}), dgate_up(dtype, {1, 2 * ffn}),
          dy(dtype, {1, ffn});
      for (int64_t start = 0; start + ffn <= 1021; start += ffn) {
        for (int64_t j = 0; j < ffn; ++j) {
          gate_up.set(j, values.get(start + j));
          gate_up.set(ffn + j, values.get(1021 + start + j));
        }
        swiglu_forward(stream, y, gate_up);
        swiglu_backward(stream, dgate_up, again, dy, gate_up);
        ASSERT_TRUE(again.same_bits(y));
        for (int64_t j = 0; j < ffn; ++j) ASSERT_EQ(y.get(j), whole.get(start + j)) << start + j;
      }
    }
  }
  const Tensor gate_up = random_tensor(DType::f32, {300, 2 * 77}, 1);
  Tensor first(DType::f32, {300, 77});
  for (int count : {1, 2, 5}) {
    set_threads(count);
    Stream stream(testing::device());
    Tensor y(DType::f32, {300, 77});
    swiglu_forward(stream, y, gate_up);
    if (count == 1) first = y;
    EXPECT_TRUE(first.same_bits(y));
  }
}

TEST(Swiglu, LargeValuesStayFinite) {
  Stream stream(testing::device());
  const Tensor gate_up = testing::from_values(DType::f32, {4, 2}, {-1e30, 1, 1e30, 1, -200, 1, 200, 1}),
               dy = testing::from_values(DType::f32, {4, 1}, {1, 1, 1, 1});
  Tensor y(DType::f32, {4, 1}), dgate_up(DType::f32, {4, 2});
  swiglu_backward(stream, dgate_up, y, dy, gate_up);
  EXPECT_EQ(y.values(), (std::vector<double>{0, static_cast<double>(1e30f), 0, 200}));
  for (double value : dgate_up.values()) EXPECT_TRUE(std::isfinite(value));
}

TEST(Swiglu, WrongArgumentsAreRefused) {
  Stream stream(testing::device());
  Tensor y(DType::f32, {2, 3}), gate_up(DType::f32, {2, 6}), narrow(DType::f32, {2, 5}), bf16(DType::bf16, {2, 6});
  EXPECT_THROW(swiglu_forward(stream, y, narrow), Error);
  EXPECT_THROW(swiglu_forward(stream, y, bf16), Error);
  EXPECT_THROW(swiglu_backward(stream, narrow, y, y, gate_up), Error);
  swiglu_forward(stream, y, gate_up);
  EXPECT_EQ(stream.totals(OpKind::swiglu).bytes, 3 * 24);
}

}  // namespace
}  // namespace drover
