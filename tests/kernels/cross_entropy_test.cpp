#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

struct Outcome {
  double loss = 0, weight = 0;
  std::vector<double> gradient;  // [tokens, vocab]
};

// The vocabulary in `ranks` slices, each padded to the same width, and the ranks' statistics side by side; or, with no ranks, as one that is not
// divided.
Outcome run(const std::vector<double>& logits, const std::vector<int>& targets, const std::vector<double>& weights, int64_t vocab,
            int divided, DType dtype) {
  const int ranks = std::max(divided, 1);
  const int64_t tokens = static_cast<int64_t>(targets.size()),
                columns = divided > 0 ? (vocab + ranks - 1) / ranks : (vocab + 8) / 8 * 8;
  Stream stream(testing::device());
  Tensor target(DType::i32, {tokens}), weight(DType::f32, {tokens}), statistics(DType::f32, {ranks, 3, tokens});
  Tensor loss_sum(DType::f64, {1}), weight_sum(DType::f64, {1});
  for (int64_t t = 0; t < tokens; ++t) {
    target.set(t, targets[static_cast<size_t>(t)]);
    weight.set(t, weights[static_cast<size_t>(t)]);
  }
  std::vector<Tensor> slices;
  std::vector<VocabularySlice> places;
  for (int rank = 0; rank < ranks; ++rank) {
    places.push_back({rank * columns, std::clamp<int64_t>(vocab - rank * columns, 0, columns)});
    slices.emplace_back(dtype, Shape{tokens, columns});
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < columns; ++j)
        slices.back().set(t * columns + j,
                          j < places.back().valid ? logits[static_cast<size_t>(t * vocab + rank * columns + j)] : 1e30);
  }
  for (int rank = 0; rank < divided; ++rank)
    cross_entropy_statistics(stream, statistics.view().slice(rank * 3 * tokens, {3, tokens}), slices[static_cast<size_t>(rank)],
                             target, places[static_cast<size_t>(rank)]);
  Outcome out;
  out.gradient.resize(static_cast<size_t>(tokens * vocab));
  for (int rank = 0; rank < ranks; ++rank) {
    Tensor loss(DType::f64, {1}), count(DType::f64, {1});
    Tensor& slice = slices[static_cast<size_t>(rank)];
    const VocabularySlice& place = places[static_cast<size_t>(rank)];
    if (divided > 0)
      cross_entropy_loss(stream, loss, count, slice, statistics, target, weight, place, true);
    else
      cross_entropy(stream, loss, count, slice, statistics, target, weight, place, true);
    out.loss = loss.get(0);
    out.weight = count.get(0);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < columns; ++j) {
        if (j < places[static_cast<size_t>(rank)].valid)
          out.gradient[static_cast<size_t>(t * vocab + rank * columns + j)] = slice.get(t * columns + j);
        else
          EXPECT_EQ(slice.get(t * columns + j), 0) << "padding";
      }
  }
  // Every logit: compared; less the maximum, exponential, added; again, divided, less the target. Read twice, or once, and written once.
  EXPECT_EQ(stream.totals(OpKind::cross_entropy).flops, 8 * ranks * tokens * columns);
  EXPECT_EQ(stream.totals(OpKind::cross_entropy).bytes, (divided > 0 ? 3 : 2) * ranks * tokens * columns * size_of(dtype));
  return out;
}

double reference_loss(const std::vector<double>& logits, const std::vector<int>& targets, const std::vector<double>& weights,
                      int64_t vocab) {
  double loss = 0;
  for (size_t t = 0; t < targets.size(); ++t) {
    double sum = 0, top = -INFINITY;
    for (int64_t j = 0; j < vocab; ++j) top = std::max(top, logits[t * static_cast<size_t>(vocab) + static_cast<size_t>(j)]);
    for (int64_t j = 0; j < vocab; ++j) sum += std::exp(logits[t * static_cast<size_t>(vocab) + static_cast<size_t>(j)] - top);
    loss += weights[t] * (std::log(sum) + top - logits[t * static_cast<size_t>(vocab) + static_cast<size_t>(targets[t])]);
  }
  return loss;
}

struct Data {
  std::vector<double> logits, weights;
  std::vector<int> targets;
  int64_t vocab;
};

Data make_data(int64_t tokens, int64_t vocab, DType dtype) {
  Data data;
  data.vocab = vocab;
  for (int64_t i = 0; i < tokens * vocab; ++i) {
    const float value = static_cast<float>(3 * normal(1, 2, static_cast<uint64_t>(i)));
    data.logits.push_back(dtype == DType::bf16 ? static_cast<float>(Bf16(value)) : value);
  }
  for (int64_t t = 0; t < tokens; ++t) {
    data.targets.push_back(static_cast<int>(philox4x32(3, static_cast<uint64_t>(t), 0)[0] % static_cast<uint64_t>(vocab)));
    data.weights.push_back(t % 3 == 1 ? 0 : 1);
  }
  return data;
}

TEST(CrossEntropy, LossAndGradientAgreeWithTheDefinition) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t vocab : {2, 7, 17, 258, 1000})
      for (const int ranks : {0, 1, 2, 8}) {
        if (vocab < ranks) continue;
        SCOPED_TRACE(::testing::Message() << name_of(dtype) << " vocabulary " << vocab << " ranks " << ranks);
        Data data = make_data(5, vocab, dtype);
        const Outcome out = run(data.logits, data.targets, data.weights, vocab, ranks, dtype);
        EXPECT_NEAR(out.loss, reference_loss(data.logits, data.targets, data.weights, vocab), 2e-6 * out.loss);
        EXPECT_EQ(out.weight, 3);  // tokens 0, 2 and 3
        const double tolerance = dtype == DType::bf16 ? 1.0 / 256 : 1e-6;
        for (int64_t i = 0; i < 5 * vocab; i += std::max<int64_t>(1, vocab / 9)) {
          const double h = 1e-4, kept = data.logits[static_cast<size_t>(i)];
          data.logits[static_cast<size_t>(i)] = kept + h;
          const double up = reference_loss(data.logits, data.targets, data.weights, vocab);
          data.logits[static_cast<size_t>(i)] = kept - h;
          const double down = reference_loss(data.logits, data.targets, data.weights, vocab);
          data.logits[static_cast<size_t>(i)] = kept;
          const double expected = (up - down) / (2 * h);
          ASSERT_NEAR(out.gradient[static_cast<size_t>(i)], expected, tolerance * (std::abs(expected) + 1e-2)) << i;
        }
      }
}

TEST(CrossEntropy, LargeLogitsDoNotOverflow) {
  Data data = make_data(4, 50, DType::f32);
  for (double& logit : data.logits) logit *= 1e4;
  const Outcome out = run(data.logits, data.targets, data.weights, 50, 2, DType::f32);
  EXPECT_TRUE(std::isfinite(out.loss));
  for (double g : out.gradient) EXPECT_TRUE(std::isfinite(g));
}

// A row that no multiprocessor's shared memory holds.
TEST(CrossEntropy, LongRowsAreOneToo) {
  const int64_t vocab = testing::device().type == DeviceType::cuda ? 120'000 : 1'000;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Data data = make_data(3, vocab, dtype);
    const Outcome whole = run(data.logits, data.targets, data.weights, vocab, 0, dtype);
    EXPECT_NEAR(whole.loss, reference_loss(data.logits, data.targets, data.weights, vocab), 2e-6 * whole.loss);
    const Outcome divided = run(data.logits, data.targets, data.weights, vocab, 2, dtype);
    const double tolerance = dtype == DType::bf16 ? 1.0 / 128 : 1e-5;
    for (size_t i = 0; i < whole.gradient.size(); ++i)
      ASSERT_NEAR(whole.gradient[i], divided.gradient[i], tolerance * std::abs(divided.gradient[i]) + 1e-12) << i;
  }
}

TEST(CrossEntropy, EvaluationLeavesLogitsAsTheyAre) {
  Tensor logits(DType::f32, {1, 4}), statistics(DType::f32, {1, 3, 1}), target(DType::i32, {1}), weight(DType::f32, {1});
  for (int64_t i = 0; i < 4; ++i) logits.set(i, static_cast<double>(i));
  weight.set(0, 1);
  const Tensor before = logits;
  Stream stream(testing::device());
  for (const bool whole : {true, false}) {
    Tensor loss(DType::f64, {1}), count(DType::f64, {1});
    if (whole) {
      cross_entropy(stream, loss, count, logits, statistics, target, weight, {0, 4}, false);
    } else {
      cross_entropy_statistics(stream, statistics.view().slice(0, {3, 1}), logits, target, {0, 4});
      cross_entropy_loss(stream, loss, count, logits, statistics, target, weight, {0, 4}, false);
    }
    EXPECT_TRUE(logits.same_bits(before));
    EXPECT_NEAR(loss.get(0), std::log(std::exp(0.0) + std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-6);
  }
}

}  // namespace
}  // namespace drover
