#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "kernels/base/threads.h"
#include "kernels/cuda/attention.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

// One problem with random q, k, v and documents of random length.
struct Problem {
  AttentionShape s;
  float scale;
  Tensor qkv, documents;

  // Most documents that a sample has.
  int64_t most_documents() const {
    int64_t most = 1;
    for (int64_t b = 0; b < s.batch; ++b) {
      int64_t count = 0;
      for (int64_t t = 0; t < s.sequence; ++t) count += documents.get(b * s.sequence + t) == static_cast<double>(t) ? 1 : 0;
      most = std::max(most, count);
    }
    return most;
  }

  Problem(const AttentionShape& shape, DType dtype, bool with_documents)
      : s(shape), scale(static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)))),
        qkv(dtype, {shape.batch * shape.sequence, shape.heads + 2 * shape.kv_heads, shape.head_dim}),
        documents(DType::i32, {shape.batch * shape.sequence}) {
    for (int64_t i = 0; i < qkv.count(); ++i) qkv.set(i, normal(5, 0, static_cast<uint64_t>(i)));
    for (int64_t b = 0; with_documents && b < s.batch; ++b)
      for (int64_t t = 0, begin = 0; t < s.sequence; ++t) {
        if (philox4x32(9, static_cast<uint64_t>(b * s.sequence + t), 0)[0] % 7 == 0) begin = t;
        documents.set(b * s.sequence + t, static_cast<double>(begin));
      }
  }
  double at(const std::vector<double>& v, int64_t b, int64_t t, int64_t head, int64_t d) const {
    return v[static_cast<size_t>(((b * s.sequence + t) * (s.heads + 2 * s.kv_heads) + head) * s.head_dim + d)];
  }
};

// The definition, in double: whole score rows, softmax, weighted sum.
void reference(const Problem& p, const std::vector<double>& qkv, std::vector<double>& out, std::vector<double>& lse) {
  const AttentionShape& s = p.s;
  const int64_t group = s.heads / s.kv_heads;
  out.assign(static_cast<size_t>(s.batch * s.sequence * s.heads * s.head_dim), 0);
  lse.assign(static_cast<size_t>(s.batch * s.heads * s.sequence), 0);
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t t = 0; t < s.sequence; ++t) {
        const int64_t first = static_cast<int64_t>(p.documents.get(b * s.sequence + t));
        std::vector<double> score;
        for (int64_t u = first; u <= t; ++u) {
          double dot = 0;
          for (int64_t d = 0; d < s.head_dim; ++d) dot += p.at(qkv, b, t, h, d) * p.at(qkv, b, u, s.heads + h / group, d);
          score.push_back(dot * static_cast<double>(p.scale));
        }
        double sum = 0;
        for (double x : score) sum += std::exp(x);
        lse[static_cast<size_t>((b * s.heads + h) * s.sequence + t)] = std::log(sum);
        for (int64_t u = first; u <= t; ++u)
          for (int64_t d = 0; d < s.head_dim; ++d)
            out[static_cast<size_t>(((b * s.sequence + t) * s.heads + h) * s.head_dim + d)] +=
                std::exp(score[static_cast<size_t>(u - first)]) / sum * p.at(qkv, b, u, s.heads + s.kv_heads + h / group, d);
      }
}

// The header's formulas for the backward, in double, over whole rows. The numerical gradient below judges them at small shapes.
std::vector<double> reference_gradient(const Problem& p, const std::vector<double>& qkv, const std::vector<double>& dout) {
  const AttentionShape& s = p.s;
  const int64_t group = s.heads / s.kv_heads, all = s.heads + 2 * s.kv_heads;
  const double scale = static_cast<double>(p.scale);
  std::vector<double> out, lse, gradient(qkv.size(), 0);
  reference(p, qkv, out, lse);
  const auto place = [&](int64_t b, int64_t t, int64_t head, int64_t d) {
    return static_cast<size_t>(((b * s.sequence + t) * all + head) * s.head_dim + d);
  };
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t t = 0; t < s.sequence; ++t) {
        const int64_t k = s.heads + h / group, v = k + s.kv_heads;
        const size_t row = static_cast<size_t>(((b * s.sequence + t) * s.heads + h) * s.head_dim);
        double row_product = 0;
        for (size_t d = row; d < row + static_cast<size_t>(s.head_dim); ++d) row_product += dout[d] * out[d];
        for (int64_t u = static_cast<int64_t>(p.documents.get(b * s.sequence + t)); u <= t; ++u) {
          double score = 0, dp = 0;
          for (int64_t d = 0; d < s.head_dim; ++d) {
            score += qkv[place(b, t, h, d)] * qkv[place(b, u, k, d)];
            dp += dout[row + static_cast<size_t>(d)] * qkv[place(b, u, v, d)];
          }
          const double weight = std::exp(scale * score - lse[static_cast<size_t>((b * s.heads + h) * s.sequence + t)]);
          const double ds = weight * (dp - row_product);
          for (int64_t d = 0; d < s.head_dim; ++d) {
            gradient[place(b, t, h, d)] += scale * ds * qkv[place(b, u, k, d)];
            gradient[place(b, u, k, d)] += scale * ds * qkv[place(b, t, h, d)];
            gradient[place(b, u, v, d)] += weight * dout[row + static_cast<size_t>(d)];
          }
        }
      }
  return gradient;
}

struct Result {
  Tensor out, lse, dqkv, dout;
};

Result run(const Problem& p, DType dtype) {
  const AttentionShape& s = p.s;
  Result r{Tensor(dtype, {s.batch * s.sequence, s.heads, s.head_dim}), Tensor(DType::f32, {s.batch, s.heads, s.sequence}),
           Tensor(dtype, p.qkv.shape()), Tensor(dtype, {s.batch * s.sequence, s.heads, s.head_dim})};
  for (int64_t i = 0; i < r.dout.count(); ++i) r.dout.set(i, normal(6, 1, static_cast<uint64_t>(i)));
  r.dqkv.fill(std::nan(""));  // every element must be written
  Tensor scratch(DType::u8, {attention_scratch_bytes(s, dtype, testing::device())});
  Stream stream(testing::device());
  attention_forward(stream, r.out, r.lse, p.qkv, p.documents, s, p.scale, scratch);
  attention_backward(stream, r.dqkv, r.dout, r.out, r.lse, p.qkv, p.documents, s, p.scale, scratch);
  // Below the diagonal half of sequence * sequence products: 2 forward (scores, out), 5 backward (scores again, dv, dp, dq, dk).
  EXPECT_EQ(stream.totals(OpKind::attention).flops, 7 * 2 * s.batch * s.heads * (s.sequence * (s.sequence + 1) / 2) * s.head_dim);
  EXPECT_EQ(stream.totals(OpKind::attention).bytes, 3 * ConstTensorView(p.qkv).bytes() + 3 * ConstTensorView(r.out).bytes());
  return r;
}

const std::vector<AttentionShape>& shapes() {
  static const std::vector<AttentionShape> all = {{1, 1, 1, 1, 2},    {2, 5, 2, 1, 4},    {1, 64, 4, 2, 16},  {2, 70, 6, 2, 10},
                                                  {1, 129, 3, 3, 34}, {1, 200, 2, 1, 64}, {1, 131, 4, 2, 80}, {2, 65, 2, 1, 128}};
  return all;
}

// What a caller may know and allow; the results are the same.
std::vector<AttentionShape> ways(const Problem& p) {
  std::vector<AttentionShape> all;
  for (const int64_t documents : {int64_t{0}, p.most_documents(), p.most_documents() + 3})
    for (const bool deterministic : {true, false}) {
      if (documents > p.s.sequence) continue;
      all.push_back(p.s);
      all.back().documents = documents;
      all.back().deterministic = deterministic;
    }
  return all;
}

void expect_definition(const Problem& p, DType dtype, const std::vector<double>& out, const std::vector<double>& lse) {
  const Result r = run(p, dtype);
  const double rounding = dtype == DType::bf16 ? 1.0 / 128 : 2e-6;  // bf16: of p and of the result
  for (int64_t i = 0; i < r.out.count(); ++i)
    ASSERT_NEAR(r.out.get(i), out[static_cast<size_t>(i)], rounding * (1 + std::abs(out[static_cast<size_t>(i)]))) << i;
  for (int64_t i = 0; i < r.lse.count(); ++i)
    ASSERT_NEAR(r.lse.get(i), lse[static_cast<size_t>(i)], 4e-6 * (1 + std::abs(lse[static_cast<size_t>(i)])));
  // bf16: out and dqkv are rounded, and out's rounding enters D.
  const std::vector<double> expected = reference_gradient(p, p.qkv.values(), r.dout.values());
  EXPECT_LT(testing::max_error(r.dqkv, expected), dtype == DType::bf16 ? 2 * testing::rounding(dtype) : 2e-6);
}

TEST(Attention, DocumentsThatAreCountedOrNotAgreeWithTheDefinition) {
  for (const bool documents : {false, true})
    for (const AttentionShape& s : {AttentionShape{1, 1, 1, 1, 8}, AttentionShape{2, 70, 6, 2, 16}, AttentionShape{3, 40, 3, 3, 8},
                                    AttentionShape{1, 131, 4, 2, 80}, AttentionShape{2, 65, 2, 1, 128}}) {
      Problem p(s, DType::bf16, documents);
      std::vector<double> out, lse;
      reference(p, p.qkv.values(), out, lse);
      for (const AttentionShape& way : ways(p)) {
        SCOPED_TRACE(::testing::Message() << "sequence " << s.sequence << " documents " << way.documents << " deterministic "
                                          << way.deterministic);
        p.s = way;
        expect_definition(p, DType::bf16, out, lse);
      }
    }
}

// Documents of one token, first, last and between others, and one that is the whole sample.
TEST(Attention, ShortDocuments) {
  for (const std::vector<int>& begins : {std::vector<int>{0, 1, 2, 20, 39}, {0}, {0, 39}, {0, 1}}) {
    Problem p({2, 40, 4, 2, 16}, DType::bf16, false);
    for (int64_t t = 0, next = 0; t < 40; ++t) {
      if (next < static_cast<int64_t>(begins.size()) && begins[static_cast<size_t>(next)] == t) ++next;
      p.documents.set(t, begins[static_cast<size_t>(next - 1)]);  // of the first sample; the second is one document
    }
    std::vector<double> out, lse;
    reference(p, p.qkv.values(), out, lse);
    for (const AttentionShape& way : ways(p)) {
      p.s = way;
      expect_definition(p, DType::bf16, out, lse);
    }
  }
}

// Else the other cases tested our own kernels.
TEST(Attention, CudnnTakesHeadsOfMultiplesOf8) {
  const Stream stream(testing::device());
  const std::string library = attention_library(testing::device());
  if (!library.starts_with("cuDNN")) GTEST_SKIP() << library;
  std::printf("%s\n", library.c_str());
  for (const AttentionShape& s : shapes())
    for (const AttentionShape& way : ways(Problem(s, DType::bf16, true))) {
      const cuda::CudnnEngines engines = cuda::cudnn_attention_engines(way);
      EXPECT_EQ(engines.forward.number >= 0, s.head_dim % 8 == 0) << "sequence " << s.sequence << " documents " << way.documents;
      EXPECT_EQ(engines.backward.number >= 0, s.head_dim % 8 == 0) << "sequence " << s.sequence << " documents " << way.documents;
    }
}

TEST(Attention, SameBitsAgain) {
  for (const bool documents : {false, true}) {
    const Problem p({1, 333, 4, 2, 64}, DType::bf16, documents);
    const Result once = run(p, DType::bf16);
    for (int repeat = 0; repeat < 2; ++repeat) {
      const Result again = run(p, DType::bf16);
      EXPECT_TRUE(once.out.same_bits(again.out));
      EXPECT_TRUE(once.lse.same_bits(again.lse));
      EXPECT_TRUE(once.dqkv.same_bits(again.dqkv));
    }
  }
}

// More than a GPU does at a time where that is deterministic.
TEST(Attention, ManySamplesAndManyHeads) {
  for (const AttentionShape& s : {AttentionShape{600, 4, 1, 1, 8}, AttentionShape{2, 4, 1200, 600, 8}})
    for (const int64_t documents : {0, 1}) {
      Problem p(s, DType::bf16, documents == 0);
      p.s.documents = documents;
      std::vector<double> out, lse;
      reference(p, p.qkv.values(), out, lse);
      expect_definition(p, DType::bf16, out, lse);
    }
}

TEST(Attention, ForwardAgreesWithTheDefinition) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool documents : {false, true})
      for (const AttentionShape& s : shapes()) {
        SCOPED_TRACE(::testing::Message() << name_of(dtype) << " sequence " << s.sequence << " documents " << documents);
        const Problem p(s, dtype, documents);
        const Result r = run(p, dtype);
        std::vector<double> out, lse;
        reference(p, p.qkv.values(), out, lse);
        const double rounding = dtype == DType::bf16 ? 1.0 / 128 : 2e-6;  // bf16: of p and of the result
        for (int64_t i = 0; i < r.out.count(); ++i)
          ASSERT_NEAR(r.out.get(i), out[static_cast<size_t>(i)], rounding * (1 + std::abs(out[static_cast<size_t>(i)]))) << i;
        for (int64_t i = 0; i < r.lse.count(); ++i)
          ASSERT_NEAR(r.lse.get(i), lse[static_cast<size_t>(i)], 4e-6 * (1 + std::abs(lse[static_cast<size_t>(i)])));
      }
}

TEST(Attention, BackwardAgreesWithTheDefinition) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool documents : {false, true})
      for (const AttentionShape& s : shapes()) {
        SCOPED_TRACE(::testing::Message() << name_of(dtype) << " sequence " << s.sequence << " head_dim " << s.head_dim);
        const Problem p(s, dtype, documents);
        const Result r = run(p, dtype);
        const std::vector<double> expected = reference_gradient(p, p.qkv.values(), r.dout.values());
        // bf16: out and dqkv are rounded, and out's rounding enters D.
        EXPECT_LT(testing::max_error(r.dqkv, expected), dtype == DType::bf16 ? 2 * testing::rounding(dtype) : 2e-6);
      }
}

// dqkv, and the formulas that the test above compares with, against central differences of sum(out * dout) through the definition.
TEST(Attention, BackwardIsTheNumericalGradient) {
  for (const bool documents : {false, true})
    for (const AttentionShape& s : {AttentionShape{2, 5, 2, 1, 4}, AttentionShape{1, 67, 2, 1, 6}}) {
      const Problem p(s, DType::f32, documents);
      const Result r = run(p, DType::f32);
      std::vector<double> qkv = p.qkv.values(), out, lse;
      const std::vector<double> formulas = reference_gradient(p, qkv, r.dout.values());
      const auto objective = [&] {
        reference(p, qkv, out, lse);
        double sum = 0;
        for (size_t i = 0; i < out.size(); ++i) sum += out[i] * r.dout.get(static_cast<int64_t>(i));
        return sum;
      };
      const int64_t stride = std::max<int64_t>(1, p.qkv.count() / 60);
      for (int64_t i = 0; i < p.qkv.count(); i += stride) {
        const double h = 1e-5, kept = qkv[static_cast<size_t>(i)];
        qkv[static_cast<size_t>(i)] = kept + h;
        const double up = objective();
        qkv[static_cast<size_t>(i)] = kept - h;
        const double down = objective();
        qkv[static_cast<size_t>(i)] = kept;
        ASSERT_NEAR(r.dqkv.get(i), (up - down) / (2 * h), 2e-5) << "element " << i << " documents " << documents;
        ASSERT_NEAR(formulas[static_cast<size_t>(i)], (up - down) / (2 * h), 1e-7) << "element " << i;
      }
      for (int64_t i = 0; i < r.dqkv.count(); ++i) ASSERT_TRUE(std::isfinite(r.dqkv.get(i))) << i;
    }
}

TEST(Attention, Bf16GradientIsCloseToF32) {
  for (const bool documents : {false, true})
    for (const AttentionShape& s : {AttentionShape{2, 5, 2, 1, 4}, AttentionShape{2, 96, 4, 2, 32},
                                    AttentionShape{1, 129, 3, 3, 34}, AttentionShape{1, 200, 2, 1, 128}}) {
      const Problem narrow(s, DType::bf16, documents);
      Problem wide(s, DType::f32, documents);
      for (int64_t i = 0; i < wide.qkv.count(); ++i) wide.qkv.set(i, narrow.qkv.get(i));
      const Result a = run(wide, DType::f32), b = run(narrow, DType::bf16);
      double difference = 0, norm = 0;
      for (int64_t i = 0; i < a.dqkv.count(); ++i) {
        difference += std::pow(a.dqkv.get(i) - b.dqkv.get(i), 2);
        norm += std::pow(a.dqkv.get(i), 2);
      }
      // out, dout, p, ds and dqkv are rounded to 8 bits each
      EXPECT_LT(std::sqrt(difference / norm), 1.0 / 128) << "sequence " << s.sequence << " documents " << documents;
      EXPECT_GT(difference, 0);
    }
}

TEST(Attention, SameBitsOnAnyNumberOfThreads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Problem p({3, 130, 4, 2, 16}, dtype, true);
    set_threads(1);
    const Result one = run(p, dtype);
    set_threads(3);
    const Result three = run(p, dtype);
    EXPECT_TRUE(one.out.same_bits(three.out));
    EXPECT_TRUE(one.dqkv.same_bits(three.dqkv));
  }
}

// What a document cannot see cannot matter.
TEST(Attention, OtherDocumentsDoNotMatter) {
  Problem p({1, 40, 2, 2, 8}, DType::f32, false);
  for (int64_t t = 17; t < 40; ++t) p.documents.set(t, 17);
  const Result before = run(p, DType::f32);
  for (int64_t i = 0; i < 17 * p.qkv.count() / 40; ++i) p.qkv.set(i, 100 * p.qkv.get(i));
  const Result after = run(p, DType::f32);
  for (int64_t i = 17 * 2 * 8; i < 40 * 2 * 8; ++i) ASSERT_EQ(before.out.get(i), after.out.get(i));
}

TEST(Attention, RefusesWrongShapes) {
  const Problem p({1, 8, 2, 1, 4}, DType::f32, false);
  Tensor out(DType::f32, {8, 2, 4}), lse(DType::f32, {1, 2, 8}),
      scratch(DType::u8, {attention_scratch_bytes(p.s, DType::f32, testing::device())}), small(DType::u8, {8});
  Stream stream(testing::device());
  EXPECT_THROW(attention_forward(stream, out, lse, p.qkv, p.documents, {1, 8, 4, 1, 4}, p.scale, scratch), Error);
  EXPECT_THROW(attention_forward(stream, out, lse, p.qkv, p.documents, p.s, p.scale, small), Error);
  Tensor narrow(DType::bf16, p.qkv.shape());
  EXPECT_THROW(attention_backward(stream, narrow, out, out, lse, p.qkv, p.documents, p.s, p.scale, scratch), Error);
  Stream elsewhere(Device{DeviceType::simulated, 0});
  EXPECT_THROW(attention_forward(elsewhere, out, lse, p.qkv, p.documents, p.s, p.scale, scratch), Error);
}

}  // namespace
}  // namespace drover
