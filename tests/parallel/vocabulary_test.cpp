// The head's loss in chunks of tokens against the whole logits in double. How the vocabulary is divided over ranks is tested with the
// layouts; there all tokens fit one chunk.
#include "parallel/vocabulary.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "kernels/gemm.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

constexpr int64_t kTokens = 7, kHidden = 6, kVocabulary = 11, kRows = 13;  // two rows of padding

struct Problem {
  Tensor x = testing::random_tensor(DType::f32, {kTokens, kHidden}, 1),
         weight = testing::random_tensor(DType::f32, {kRows, kHidden}, 2),
         targets = testing::random_indices({kTokens}, kVocabulary, 3), weights{DType::f32, {kTokens}};
  Problem() {
    for (int64_t t = 0; t < kTokens; ++t) weights.set(t, t % 3 == 1 ? 0 : 1 + static_cast<double>(t) / 8);
  }
};

struct Outcome {
  double loss = 0, weight = 0;
  std::vector<double> dx, dweight;
};

Outcome reference(const Problem& p) {
  Outcome out;
  out.dx.assign(kTokens * kHidden, 0);
  out.dweight.assign(kRows * kHidden, 0);
  for (int64_t t = 0; t < kTokens; ++t) {
    const double weight = p.weights.get(t);
    const int64_t target = static_cast<int64_t>(p.targets.get(t));
    std::vector<double> logits(kVocabulary, 0);
    double sum = 0;
    for (int64_t j = 0; j < kVocabulary; ++j) {
      double& logit = logits[static_cast<size_t>(j)];
      for (int64_t i = 0; i < kHidden; ++i) logit += p.x.get(t * kHidden + i) * p.weight.get(j * kHidden + i);
      sum += std::exp(logit);
    }
    out.loss += weight * (std::log(sum) - logits[static_cast<size_t>(target)]);
    out.weight += weight;
    for (int64_t j = 0; j < kVocabulary; ++j) {
      const double d = weight * (std::exp(logits[static_cast<size_t>(j)]) / sum - (j == target ? 1 : 0));
      for (int64_t i = 0; i < kHidden; ++i) {
        out.dx[static_cast<size_t>(t * kHidden + i)] += d * p.weight.get(j * kHidden + i);
        out.dweight[static_cast<size_t>(j * kHidden + i)] += d * p.x.get(t * kHidden + i);
      }
    }
  }
  return out;
}

struct Chunked {
  Tensor loss{DType::f64, {1}}, weight{DType::f64, {1}}, dx{DType::f32, {kTokens, kHidden}}, dweight{DType::f32, {kRows, kHidden}};
};

constexpr double kBefore = 0.75;  // what the accumulator of the weight's gradient holds

Chunked run(Problem& p, int64_t chunk, bool gradient, float beta = 0) {
  Chunked out;
  for (int64_t i = 0; i < out.dweight.count(); ++i) out.dweight.set(i, kBefore);
  const auto self = make_self_communicator("tp");
  Stream stream;
  Tensor scratch(DType::u8, {gemm_scratch_bytes(DType::f32, kTokens, kRows, kTokens, threads())});
  Tensor logits(DType::f32, {chunk, kRows}), statistics(DType::f32, {3 * chunk});
  vocabulary_loss({stream, *self, scratch}, {out.loss, out.weight}, gradient ? out.dx.view() : TensorView{},
                  gradient ? out.dweight.view() : TensorView{}, p.x, p.weight, p.targets, p.weights, {0, kVocabulary},
                  {logits, statistics}, beta);
  return out;
}

TEST(VocabularyLoss, ChunksOfTokensAreTheWhole) {
  Problem p;
  const Outcome expected = reference(p);
  for (const int64_t chunk : {1, 2, 3, 6, 7}) {  // with and without a shorter last one
    SCOPED_TRACE(chunk);
    const Chunked whole = run(p, chunk, true), evaluated = run(p, chunk, false);
    for (const Chunked* each : {&whole, &evaluated}) {
      EXPECT_NEAR(each->loss.get(0), expected.loss, 1e-6 * expected.loss);
      EXPECT_DOUBLE_EQ(each->weight.get(0), expected.weight);
    }
    EXPECT_LT(testing::max_error(whole.dx, expected.dx), 1e-6);
    EXPECT_LT(testing::max_error(whole.dweight, expected.dweight), 1e-6);
    std::vector<double> added = expected.dweight;
    for (double& value : added) value += kBefore;
    EXPECT_LT(testing::max_error(run(p, chunk, true, 1).dweight, added), 1e-6);
  }
}

}  // namespace
}  // namespace drover
