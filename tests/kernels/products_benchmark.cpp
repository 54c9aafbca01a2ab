// Matrix products, attention and the loss: GFLOP/s beside the best rate of a square product, GB/s beside a copy.
#include "kernels/attention.h"
#include "kernels/base/threads.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

// Columns "GFLOP/s" and "of_gemm": of the rate that a square product of the same dtype reaches in this process.
void report_rate(benchmark::State& state, const Stream& stream, OpKind kind, DType dtype) {
  Stream other;
  const double rate = static_cast<double>(stream.totals(kind).flops) / stream.totals(kind).seconds;
  state.counters["GFLOP/s"] = rate / 1e9;
  state.counters["of_gemm"] = rate / measure_gemm_rate(other, dtype);
}

// The three products of a linear layer: 2,048 tokens, 512 to 1,408. `library`: by oneDNN also where own products of bf16 are faster.
void gemm_case(benchmark::State& state) {
  constexpr int64_t kTokens = 2048, kIn = 512, kOut = 1408;
  const DType dtype = dtype_of(state);
  const int which = static_cast<int>(state.range(1));  // 0 forward, 1 input gradient, 2 weight gradient
  const Tensor x = random_tensor(dtype, {kTokens, kIn}, 1), w = random_tensor(dtype, {kOut, kIn}, 2),
               dy = random_tensor(dtype, {kTokens, kOut}, 3);
  Tensor y(dtype, {kTokens, kOut}), dx(dtype, {kTokens, kIn}), dw(DType::f32, {kOut, kIn});
  Tensor scratch(DType::u8, {gemm_scratch_bytes(dtype, kTokens, kOut, kTokens, threads())});
  Stream stream;
  const bool library = state.range(2) != 0;
  const auto product = [&](TensorView c, ConstTensorView a, bool ta, ConstTensorView b, bool tb, float beta) {
    const Timed timed = stream.charge({OpKind::gemm, 2 * kTokens * kIn * kOut, 0});
    cpu::gemm(c, a, ta, b, tb, beta, scratch, library ? cpu::Bf16Product::native : cpu::best_bf16_product());
  };
  for (auto _ : state) {
    if (which == 0) product(y, x, false, w, true, 0);
    if (which == 1) product(dx, dy, false, w, false, 0);
    if (which == 2) product(dw, dy, true, x, false, 1);
  }
  report_rate(state, stream, OpKind::gemm, dtype);
}
BENCHMARK(gemm_case)
    ->ArgNames({"bits", "product", "library"})
    ->ArgsProduct({{32}, {0, 1, 2}, {0}})
    ->ArgsProduct({{16}, {0, 1, 2}, {0, 1}})
    ->UseRealTime();

// FLOPs are those of the causal half. Shapes: those of launch/bench_against_torch.
void attention_case(benchmark::State& state) {
  const AttentionShape shapes[] = {{4, 512, 8, 4, 64}, {1, 1024, 16, 8, 64}, {16, 128, 4, 2, 32}}, shape = shapes[state.range(2)];
  const DType dtype = dtype_of(state);
  const int64_t tokens = shape.batch * shape.sequence;
  const Tensor qkv = random_tensor(dtype, {tokens, shape.heads + 2 * shape.kv_heads, shape.head_dim}, 1),
               dout = random_tensor(dtype, {tokens, shape.heads, shape.head_dim}, 2);
  const Tensor documents(DType::i32, {tokens});
  Tensor out(dtype, dout.shape()), lse(DType::f32, {shape.batch, shape.heads, shape.sequence}), dqkv(dtype, qkv.shape());
  Tensor scratch(DType::u8, {attention_scratch_bytes(shape, dtype)});
  Stream warm, stream;
  attention_forward(warm, out, lse, qkv, documents, shape, 0.125f, scratch);
  for (auto _ : state) {
    if (state.range(1) == 0)
      attention_forward(stream, out, lse, qkv, documents, shape, 0.125f, scratch);
    else
      attention_backward(stream, dqkv, dout, out, lse, qkv, documents, shape, 0.125f, scratch);
  }
  report_rate(state, stream, OpKind::attention, dtype);
}
BENCHMARK(attention_case)->ArgNames({"bits", "backward", "shape"})->ArgsProduct({{32, 16}, {0, 1}, {0, 1, 2}})->UseRealTime();

void cross_entropy_case(benchmark::State& state) {
  constexpr int64_t kTokens = 1024, kVocabulary = 8192;
  const DType dtype = dtype_of(state);
  Tensor logits = random_tensor(dtype, {kTokens, kVocabulary}, 1), statistics(DType::f32, {1, 3, kTokens}),
         weights(DType::f32, {kTokens});
  Tensor loss(DType::f64, {1}), weight(DType::f64, {1});
  const Tensor targets(DType::i32, {kTokens});
  weights.fill(1);
  Stream stream;
  for (auto _ : state) cross_entropy(stream, loss, weight, logits, statistics, targets, weights, {0, kVocabulary}, true);
  testing::report_bandwidth(state, stream, OpKind::cross_entropy);
}
BENCHMARK(cross_entropy_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

}  // namespace
}  // namespace drover
