// bf16 ops on the device of the tests beside the cpu's bf16 ops, on the same values: an error at most twice as large. Both errors are distances
// from the cpu's op in f32 on these values, whose own tests hold it to f64 within some 1e-6, a thousandth of what bf16 rounds away. Odd
// sizes, rows that begin at odd addresses, magnitudes of 1e-3, 1 and 1e3.
#include <gtest/gtest.h>

#include <deque>

#include "kernels/attention.h"
#include "kernels/base/threads.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

struct Result {
  DType dtype;
  std::vector<double> values;
};

// Where and how a case is run, and its tensors, the same values each time.
class Place {
 public:
  Place(Device device, DType dtype, double magnitude, int64_t shift)
      : device_(device), dtype_(dtype), magnitude_(magnitude), shift_(shift), stream_(device) {}

  Stream& stream() { return stream_; }
  Device device() const { return device_; }
  DType dtype() const { return dtype_; }
  double magnitude() const { return magnitude_; }

  TensorView input(const Shape& shape) { return random(shape, magnitude_); }
  TensorView weight(const Shape& shape) { return random(shape, 1); }
  TensorView output(const Shape& shape) { return place(Tensor(dtype_, {shape.count() + shift_}), shape); }
  TensorView f32(const Shape& shape) { return placed(Tensor(DType::f32, shape), shape, 0); }
  TensorView f64(const Shape& shape) { return placed(Tensor(DType::f64, shape), shape, 0); }
  TensorView indices(const Shape& shape, int64_t below) { return placed(testing::random_indices(shape, below, ++seed_), shape, 0); }
  TensorView scratch(int64_t bytes) { return placed(Tensor(DType::u8, {bytes}), {bytes}, 0); }
  void keep_aligned() { shift_ = 0; }  // cuDNN wants it

  Result result(TensorView view) {
    stream_.synchronize();
    for (const Tensor& tensor : tensors_) {
      const auto* begin = tensor.view().data;
      if (view.data < begin || view.data >= begin + tensor.view().bytes()) continue;
      const std::vector<double> all = tensor.values();
      return {view.dtype, {all.end() - view.count(), all.end()}};
    }
    return {};
  }

 private:
  TensorView random(const Shape& shape, double scale) {
    Tensor tensor(dtype_, {shape.count() + shift_});
    for (int64_t i = 0; i < shape.count(); ++i) {
      const Bf16 value(static_cast<float>(scale * normal(seed_, 0, static_cast<uint64_t>(i))));
      tensor.set(shift_ + i, static_cast<float>(value));
    }
    ++seed_;
    return place(std::move(tensor), shape);
  }
  TensorView place(Tensor tensor, const Shape& shape) { return placed(std::move(tensor), shape, shift_); }
  TensorView placed(Tensor tensor, const Shape& shape, int64_t shift) {
    tensors_.push_back(std::move(tensor));
    TensorView view = tensors_.back().view().slice(shift, shape);
    view.device = device_;
    return view;
  }

  Device device_;
  DType dtype_;
  double magnitude_;
  int64_t shift_;  // elements that tensors begin after an aligned address
  Stream stream_;
  std::deque<Tensor> tensors_;
  uint64_t seed_ = 0;
};

using Case = std::vector<Result> (*)(Place&);
constexpr int64_t kTokens = 37, kHidden = 131, kFfn = 67;

std::vector<Result> rmsnorm(Place& at) {
  const TensorView x = at.input({kTokens, kHidden}), weight = at.weight({kHidden}), dy = at.weight(x.shape);
  const TensorView y = at.output(x.shape), rstd = at.f32({kTokens}), dx = at.output(x.shape), dweight = at.f32({kHidden});
  rmsnorm_forward(at.stream(), y, rstd, x, weight, 1e-5f);
  rmsnorm_backward(at.stream(), dx, dweight, dy, x, rstd, weight, false, at.f32({rmsnorm_backward_scratch(kHidden, at.device())}));
  return {at.result(y), at.result(rstd), at.result(dx), at.result(dweight)};
}

std::vector<Result> add_rmsnorm(Place& at) {
  const TensorView x = at.input({kTokens, kHidden}), residual = at.input(x.shape), weight = at.weight({kHidden});
  const TensorView sum = at.output(x.shape), y = at.output(x.shape), rstd = at.f32({kTokens});
  add_rmsnorm_forward(at.stream(), sum, y, rstd, x, residual, weight, 1e-5f);
  return {at.result(sum), at.result(y)};
}

std::vector<Result> swiglu(Place& at) {
  const TensorView gate_up = at.input({kTokens, 2 * kFfn}), dy = at.weight({kTokens, kFfn});
  const TensorView y = at.output(dy.shape), dgate_up = at.output(gate_up.shape), again = at.output(dy.shape);
  swiglu_forward(at.stream(), y, gate_up);
  swiglu_backward(at.stream(), dgate_up, again, dy, gate_up);
  return {at.result(y), at.result(dgate_up), at.result(again)};
}

std::vector<Result> rope(Place& at) {
  constexpr int64_t kHeads = 5, kKvHeads = 1, kHeadDim = 10, kPositions = 23;
  const TensorView qkv = at.input({kTokens, kHeads + 2 * kKvHeads, kHeadDim}), positions = at.indices({kTokens}, kPositions);
  const TensorView cosine = at.f32({kPositions, kHeadDim / 2}), sine = at.f32(cosine.shape);
  rope_table(at.stream(), cosine, sine, rope_frequencies(kHeadDim, 10000, {}));
  rope_forward(at.stream(), qkv, positions, cosine, sine, kKvHeads);
  return {at.result(qkv)};
}

std::vector<Result> elementwise(Place& at) {
  const TensorView a = at.input({kTokens, kHidden}), b = at.input(a.shape), bias = at.input({kHidden});
  const TensorView sum = at.output(a.shape), dbias = at.f32({kHidden}), wide = at.f32(a.shape);
  add(at.stream(), sum, a, b);
  bias_backward(at.stream(), dbias, b);
  cast(at.stream(), wide, a);
  bias_forward(at.stream(), b, bias);
  return {at.result(sum), at.result(dbias), at.result(wide), at.result(b)};
}

std::vector<Result> embedding(Place& at) {
  constexpr int64_t kRows = 19;
  const TensorView tokens = at.indices({kTokens}, kRows), weight = at.input({kRows, kHidden}), dy = at.input({kTokens, kHidden});
  const TensorView y = at.output(dy.shape), dweight = at.f32(weight.shape);
  embedding_forward(at.stream(), y, tokens, weight, 0);
  embedding_backward(at.stream(), dweight, dy, tokens, 0);
  return {at.result(y), at.result(dweight)};
}

std::vector<Result> cross_entropy(Place& at) {
  constexpr int64_t kColumns = 133;
  const VocabularySlice slice{0, kColumns - 2};
  const TensorView logits = at.input({kTokens, kColumns}), targets = at.indices({kTokens}, slice.valid);
  const TensorView statistics = at.f32({1, 3, kTokens}), weights = at.f32({kTokens});
  const TensorView loss = at.f64({1}), weight = at.f64({1});
  for (int64_t t = 0; t < kTokens; ++t) weights.as<float>()[t] = 1;
  cross_entropy(at.stream(), loss, weight, logits, statistics, targets, weights, slice, true);
  return {at.result(logits), at.result(loss)};
}

std::vector<Result> products(Place& at) {
  constexpr int64_t kM = 37, kN = 67, kK = 131;
  const TensorView scratch = at.scratch(gemm_scratch_bytes(at.dtype(), 131, 131, 131, threads(), at.device()));
  const TensorView x = at.input({kM, kK}), w = at.weight({kN, kK}), dy = at.weight({kM, kN}), bias = at.weight({kN});
  const TensorView y = at.output(dy.shape), dx = at.output(x.shape), dw = at.f32(w.shape);
  gemm(at.stream(), y, x, false, w, true, 0, scratch, bias);
  gemm(at.stream(), dx, dy, false, w, false, 0, scratch);
  gemm(at.stream(), dw, dy, true, x, false, 0, scratch);
  return {at.result(y), at.result(dx), at.result(dw)};
}

std::vector<Result> attention(Place& at) {
  constexpr AttentionShape kShape{3, 37, 4, 2, 16, 1};
  constexpr int64_t kAll = kShape.batch * kShape.sequence;
  at.keep_aligned();
  const TensorView qkv = at.input({kAll, kShape.heads + 2 * kShape.kv_heads, kShape.head_dim}),
                   dout = at.weight({kAll, kShape.heads, kShape.head_dim}), documents = at.indices({kAll}, 1);
  const TensorView out = at.output(dout.shape), dqkv = at.output(qkv.shape),
                   lse = at.f32({kShape.batch, kShape.heads, kShape.sequence});
  // Of scores of order 1: larger ones would pick one key, whose gradients cancel.
  const auto scale = static_cast<float>(0.25 / (at.magnitude() * at.magnitude()));
  const TensorView scratch = at.scratch(attention_scratch_bytes(kShape, at.dtype(), at.device()));
  attention_forward(at.stream(), out, lse, qkv, documents, kShape, scale, scratch);
  attention_backward(at.stream(), dqkv, dout, out, lse, qkv, documents, kShape, scale, scratch);
  return {at.result(out), at.result(lse), at.result(dqkv)};
}

// norm(result - reference) / norm(reference); not a number where one of them is none.
double error_of(const Result& result, const Result& reference) {
  double squares = 0, all = 0;
  for (size_t i = 0; i < reference.values.size(); ++i) {
    const double difference = result.values.at(i) - reference.values[i];
    squares += difference * difference;
    all += reference.values[i] * reference.values[i];
  }
  return all > 0 ? std::sqrt(squares / all) : std::sqrt(squares);
}

struct Named {
  const char* name;
  Case run;
};
class Accuracy : public ::testing::TestWithParam<Named> {};

TEST_P(Accuracy, ErrorsAreAtMostTwiceTheCpus) {
  for (const double magnitude : {1e-3, 1.0, 1e3})
    for (const int64_t shift : {0, 1}) {
      const auto results = [&](Device device, DType dtype) {
        Place place(device, dtype, magnitude, shift);
        return GetParam().run(place);
      };
      const auto exact = results({}, DType::f32), cpu = results({}, DType::bf16), here = results(testing::device(), DType::bf16);
      for (size_t i = 0; i < exact.size(); ++i) {
        // Sums in f32 may come in any order.
        const double allowed = 2 * error_of(cpu[i], exact[i]) + 16 * testing::rounding(DType::f32);
        EXPECT_FALSE(exact[i].values.empty());
        EXPECT_LT(allowed, 0.1) << "result " << i << " of the cpu, magnitude " << magnitude << ", shift " << shift;
        EXPECT_LE(error_of(here[i], exact[i]), allowed) << "result " << i << ", magnitude " << magnitude << ", shift " << shift;
      }
    }
}
INSTANTIATE_TEST_SUITE_P(Ops, Accuracy,
                         ::testing::Values(Named{"Rmsnorm", rmsnorm}, Named{"AddRmsnorm", add_rmsnorm}, Named{"Swiglu", swiglu},
                                           Named{"Rope", rope}, Named{"Elementwise", elementwise}, Named{"Embedding", embedding},
                                           Named{"CrossEntropy", cross_entropy}, Named{"Products", products},
                                           Named{"Attention", attention}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace drover
