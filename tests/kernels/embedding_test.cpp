#include "kernels/embedding.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

struct Case {
  int64_t tokens, vocabulary, first, rows, hidden;
};
const std::vector<Case> kCases = {{1, 1, 0, 1, 1},       {9, 5, 0, 5, 3},   {50, 11, 4, 3, 70},
                                  {200, 40, 20, 20, 33}, {7, 10, 30, 4, 8}, {600, 700, 10, 600, 300}};

TEST(Embedding, ForwardTakesTheSlicesRowsAndZeroElsewhere) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : kCases) {
      Stream stream(testing::device());
      const Tensor tokens = testing::random_indices({c.tokens}, c.vocabulary, 1),
                   weight = random_tensor(dtype, {c.rows, c.hidden}, 2);
      Tensor y(dtype, {c.tokens, c.hidden});
      y.fill(7);
      embedding_forward(stream, y, tokens, weight, c.first);
      for (int64_t t = 0; t < c.tokens; ++t)
        for (int64_t i = 0; i < c.hidden; ++i) {
          const int64_t row = static_cast<int64_t>(tokens.get(t)) - c.first;
          ASSERT_EQ(y.get(t * c.hidden + i), row >= 0 && row < c.rows ? weight.get(row * c.hidden + i) : 0);
        }
    }
}

// Linear: the sum of slices of any split is the whole, and <dy, forward(w)> = <backward(dy), w> for every w.
TEST(Embedding, BackwardIsTheTransposeOfForward) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : kCases) {
      Stream stream(testing::device());
      const Tensor tokens = testing::random_indices({c.tokens}, c.vocabulary, 1),
                   dy = random_tensor(dtype, {c.tokens, c.hidden}, 3);
      Tensor dweight(DType::f32, {c.rows, c.hidden});
      dweight.fill(0.5);
      embedding_backward(stream, dweight, dy, tokens, c.first);
      std::vector<double> expected(static_cast<size_t>(c.rows * c.hidden), 0.5);
      for (int64_t t = 0; t < c.tokens; ++t) {
        const int64_t row = static_cast<int64_t>(tokens.get(t)) - c.first;
        for (int64_t i = 0; i < c.hidden && row >= 0 && row < c.rows; ++i)
          expected[static_cast<size_t>(row * c.hidden + i)] += dy.get(t * c.hidden + i);
      }
      EXPECT_LT(testing::max_error(dweight, expected), 2e-6);
    }
}

TEST(Embedding, BackwardAddsInTheOrderOfTokens) {
  Stream stream(testing::device());
  // 1e8 + 1 - 1e8 is 0 in f32, 1e8 - 1e8 + 1 is 1: only the order of t gives these.
  const Tensor dy = testing::from_values(DType::f32, {6, 1}, {1e8, 1, -1e8, 1e8, -1e8, 1});
  const Tensor tokens = testing::from_values(DType::i32, {6}, {0, 0, 0, 1, 1, 1});
  Tensor dweight(DType::f32, {2, 1});
  embedding_backward(stream, dweight, dy, tokens, 0);
  EXPECT_EQ(dweight.values(), (std::vector<double>{0, 1}));
}

TEST(Embedding, TheThreadCountChangesNoBit) {
  const Tensor tokens = testing::random_indices({3000}, 17, 1), dy = random_tensor(DType::bf16, {3000, 300}, 3);
  Tensor first(DType::f32, {17, 300});
  for (int count : {1, 2, 4, 7}) {
    set_threads(count);
    Stream stream(testing::device());
    Tensor dweight(DType::f32, {17, 300});
    embedding_backward(stream, dweight, dy, tokens, 0);
    if (count == 1) first = dweight;
    EXPECT_TRUE(first.same_bits(dweight));
  }
}

TEST(Embedding, WrongArgumentsAreRefused) {
  Stream stream(testing::device());
  Tensor y(DType::f32, {3, 4}), tokens(DType::i32, {3}), weight(DType::f32, {5, 4}), bf16(DType::bf16, {5, 4}),
      few(DType::i32, {2});
  EXPECT_THROW(embedding_forward(stream, y, few, weight, 0), Error);
  EXPECT_THROW(embedding_forward(stream, y, tokens, bf16, 0), Error);
  EXPECT_THROW(embedding_forward(stream, y, weight, weight, 0), Error);
  EXPECT_THROW(embedding_backward(stream, bf16, y, tokens, 0), Error);
  embedding_forward(stream, y, tokens, weight, 0);
  EXPECT_EQ(stream.totals(OpKind::embedding).bytes, 2 * 48 + 12);
}

}  // namespace
}  // namespace drover
