#include "kernels/rmsnorm.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::max_error;
using testing::random_tensor;
using testing::Tensor;

constexpr float kEps = 1e-5f;
const std::vector<Shape> kShapes = {{1, 1}, {1, 7}, {3, 31}, {5, 32}, {33, 65}, {70, 128}, {2, 1000}, {530, 300}};

struct Reference {
  std::vector<double> y, rstd;
};

Reference reference(const std::vector<double>& x, const std::vector<double>& weight) {
  const size_t hidden = weight.size(), tokens = x.size() / hidden;
  Reference out{std::vector<double>(x.size()), std::vector<double>(tokens)};
  for (size_t t = 0; t < tokens; ++t) {
    double mean = 0;
    for (size_t i = 0; i < hidden; ++i) mean += x[t * hidden + i] * x[t * hidden + i] / static_cast<double>(hidden);
    out.rstd[t] = 1 / std::sqrt(mean + static_cast<double>(kEps));
    for (size_t i = 0; i < hidden; ++i) out.y[t * hidden + i] = x[t * hidden + i] * out.rstd[t] * weight[i];
  }
  return out;
}

std::vector<double> concatenate(std::vector<double> a, const std::vector<double>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// d/d(x, weight) of sum dy y, by central differences: [tokens * hidden] of dx, then [hidden] of dweight.
std::vector<double> numerical(const Tensor& x, const Tensor& weight, const Tensor& dy) {
  const size_t split = static_cast<size_t>(x.count());
  const std::vector<double> upstream = dy.values();
  return testing::numerical_gradient(concatenate(x.values(), weight.values()), [&](const std::vector<double>& point) {
    const Reference out = reference({point.begin(), point.begin() + static_cast<int64_t>(split)},
                                    {point.begin() + static_cast<int64_t>(split), point.end()});
    double sum = 0;
    for (size_t i = 0; i < split; ++i) sum += upstream[i] * out.y[i];
    return sum;
  });
}

struct Problem {
  Tensor x, weight, dy, rstd, y;
  Problem(DType dtype, const Shape& shape)
      : x(random_tensor(dtype, shape, 1)), weight(random_tensor(dtype, {shape[1]}, 2)), dy(random_tensor(dtype, shape, 3)),
        rstd(DType::f32, {shape[0]}), y(dtype, shape) {
    Stream stream(testing::device());
    rmsnorm_forward(stream, y, rstd, x, weight, kEps);
  }
};

Tensor scratch_for(int64_t hidden) { return {DType::f32, {rmsnorm_backward_scratch(hidden, testing::device())}}; }

TEST(Rmsnorm, ForwardMatchesTheReference) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Problem p(dtype, shape);
      const Reference expected = reference(p.x.values(), p.weight.values());
      EXPECT_LT(max_error(p.y, expected.y), 4 * testing::rounding(dtype)) << to_string(shape);
      EXPECT_LT(max_error(p.rstd, expected.rstd), 1e-6) << to_string(shape);
    }
}

TEST(Rmsnorm, TheEpsilonCountsWhereRowsAreTiny) {
  Stream stream(testing::device());
  Tensor x = random_tensor(DType::f32, {4, 16}, 5, 1e-3), weight = random_tensor(DType::f32, {16}, 6), y(DType::f32, {4, 16});
  Tensor rstd(DType::f32, {4});
  rmsnorm_forward(stream, y, rstd, x, weight, kEps);
  EXPECT_LT(max_error(y, reference(x.values(), weight.values()).y), 1e-6);
}

TEST(Rmsnorm, AddForwardRoundsTheSumAndMayWriteOverAnOperand) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Stream stream(testing::device());
      Tensor x = random_tensor(dtype, shape, 1), residual = random_tensor(dtype, shape, 2),
             weight = random_tensor(dtype, {shape[1]}, 3);
      Tensor sum(dtype, shape), y(dtype, shape), rstd(DType::f32, {shape[0]}), expected_sum(dtype, shape);
      for (int64_t i = 0; i < x.count(); ++i)
        expected_sum.set(i, static_cast<float>(x.get(i)) + static_cast<float>(residual.get(i)));
      add_rmsnorm_forward(stream, sum, y, rstd, x, residual, weight, kEps);
      EXPECT_TRUE(sum.same_bits(expected_sum)) << to_string(shape);
      Tensor plain_y(dtype, shape), plain_rstd(DType::f32, {shape[0]});
      rmsnorm_forward(stream, plain_y, plain_rstd, sum, weight, kEps);
      EXPECT_TRUE(y.same_bits(plain_y) && rstd.same_bits(plain_rstd)) << to_string(shape);
      Tensor over_x = x, over_residual = residual, again(dtype, shape);
      add_rmsnorm_forward(stream, over_x, again, rstd, over_x, residual, weight, kEps);
      EXPECT_TRUE(over_x.same_bits(sum) && again.same_bits(y));
      add_rmsnorm_forward(stream, over_residual, again, rstd, x, over_residual, weight, kEps);
      EXPECT_TRUE(over_residual.same_bits(sum) && again.same_bits(y));
    }
}

TEST(Rmsnorm, BackwardMatchesTheNumericalGradient) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : {Shape{1, 1}, Shape{1, 7}, Shape{3, 31}, Shape{37, 12}}) {
      Stream stream(testing::device());
      Problem p(dtype, shape);
      Tensor dx(dtype, shape), dweight(DType::f32, {shape[1]}), scratch = scratch_for(shape[1]);
      rmsnorm_backward(stream, dx, dweight, p.dy, p.x, p.rstd, p.weight, false, scratch);
      const std::vector<double> expected = numerical(p.x, p.weight, p.dy);
      const auto split = expected.begin() + p.x.count();
      // [1, 1]: the exact gradient all but vanishes, so compare with the size of its terms, which is about 1.
      const double bound = dtype == DType::bf16 ? 0.01 : 1e-5;
      double worst = 0;
      for (int64_t i = 0; i < dx.count(); ++i)
        worst = std::max(worst, std::abs(dx.get(i) - expected[static_cast<size_t>(i)]) / (1 + std::abs(dx.get(i))));
      EXPECT_LT(worst, bound) << to_string(shape);
      EXPECT_LT(max_error(dweight, {split, expected.end()}), 1e-5) << to_string(shape);
    }
}

TEST(Rmsnorm, BackwardAccumulatesAndMayWriteOverDy) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Shape& shape : kShapes) {
      Stream stream(testing::device());
      Problem p(dtype, shape);
      Tensor dx(dtype, shape), dweight(DType::f32, {shape[1]}), scratch = scratch_for(shape[1]);
      rmsnorm_backward(stream, dx, dweight, p.dy, p.x, p.rstd, p.weight, false, scratch);

      Tensor in_place = p.dy, dweight_again(DType::f32, {shape[1]});
      rmsnorm_backward(stream, in_place, dweight_again, in_place, p.x, p.rstd, p.weight, false, scratch);
      EXPECT_TRUE(in_place.same_bits(dx) && dweight_again.same_bits(dweight)) << to_string(shape);

      Tensor onto = random_tensor(dtype, shape, 9);
      std::vector<double> sum = onto.values(), twice = dweight.values();
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += dx.get(static_cast<int64_t>(i));
      for (double& value : twice) value *= 2;
      rmsnorm_backward(stream, onto, dweight, p.dy, p.x, p.rstd, p.weight, true, scratch);
      EXPECT_LT(max_error(onto, sum), 2.5 * testing::rounding(dtype)) << to_string(shape);
      EXPECT_LT(max_error(dweight, twice), 1e-6);
    }
}

TEST(Rmsnorm, TheThreadCountChangesNoBit) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Shape shape{301, 777};
    std::vector<Tensor> results;
    for (int count : {1, 2, 3, 8, 50}) {
      set_threads(count);
      Stream stream(testing::device());
      Problem p(dtype, shape);
      Tensor dx(dtype, shape), dweight(DType::f32, {shape[1]}), scratch = scratch_for(shape[1]);
      scratch.fill(NAN);
      rmsnorm_backward(stream, dx, dweight, p.dy, p.x, p.rstd, p.weight, false, scratch);
      if (results.empty()) results = {p.y, p.rstd, dx, dweight};
      EXPECT_TRUE(results[0].same_bits(p.y) && results[1].same_bits(p.rstd) && results[2].same_bits(dx) &&
                  results[3].same_bits(dweight));
    }
  }
}

TEST(Rmsnorm, NoTokensIsNothing) {
  Stream stream(testing::device());
  Tensor x(DType::f32, {0, 8}), rstd(DType::f32, {0}), weight(DType::f32, {8}), dweight = random_tensor(DType::f32, {8}, 1);
  Tensor before = dweight, scratch = scratch_for(8);
  rmsnorm_forward(stream, x, rstd, x, weight, kEps);
  rmsnorm_backward(stream, x, dweight, x, x, rstd, weight, false, scratch);
  EXPECT_TRUE(dweight.same_bits(before));
}

TEST(Rmsnorm, WrongArgumentsAreRefusedByName) {
  Stream stream(testing::device());
  Problem p(DType::f32, {3, 8});
  Tensor short_weight(DType::f32, {7}), bf16_y(DType::bf16, {3, 8}), dweight(DType::f32, {8}), scratch = scratch_for(8);
  Tensor small_scratch(DType::f32, {8}), dx = p.dy;
  try {
    rmsnorm_forward(stream, p.y, p.rstd, p.x, short_weight, kEps);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rmsnorm_forward: weight is f32 [7], expected f32 [8]"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(rmsnorm_forward(stream, bf16_y, p.rstd, p.x, p.weight, kEps), Error);
  EXPECT_THROW(rmsnorm_forward(stream, TensorView{nullptr, DType::f32, {}, {3, 8}}, p.rstd, p.x, p.weight, kEps), Error);
  EXPECT_THROW(rmsnorm_backward(stream, dx, dweight, p.dy, p.x, p.rstd, p.weight, false, small_scratch), Error);
  EXPECT_THROW(rmsnorm_backward(stream, dx, dweight, dx, p.x, p.rstd, p.weight, true, scratch), Error);
  Stream elsewhere(Device{DeviceType::simulated, 0});
  EXPECT_THROW(rmsnorm_forward(elsewhere, p.y, p.rstd, p.x, p.weight, kEps), Error);
}

TEST(Rmsnorm, ChargesWhatItMoves) {
  Stream stream(testing::device());
  Tensor x(DType::bf16, {4, 16}), weight(DType::bf16, {16}), rstd(DType::f32, {4});
  rmsnorm_forward(stream, x, rstd, x, weight, kEps);
  EXPECT_EQ(stream.totals(OpKind::rmsnorm).calls, 1);
  EXPECT_EQ(stream.totals(OpKind::rmsnorm).bytes, 2 * 128 + 32 + 16);
  EXPECT_EQ(stream.totals(OpKind::rmsnorm).flops, 4 * 64);
}

}  // namespace
}  // namespace drover
