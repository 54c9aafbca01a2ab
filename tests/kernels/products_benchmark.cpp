// Matrix products, attention and the loss.
#include "kernels/attention.h"
#include "kernels/base/threads.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"
#include "tests/kernels/op_benchmark.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::dtype_of;
using testing::Op;
using testing::Operands;
using testing::OpSizes;

bool on_gpu() { return testing::device().type == DeviceType::cuda; }

enum Product : int64_t { forward, input_gradient, weight_gradient };

// The three products of a linear layer: 2,048 tokens, 512 to `out`. `library`: by oneDNN also where own products of bf16 are faster.
void gemm_case(benchmark::State& state) {
  constexpr int64_t kTokens = 2048, kIn = 512;
  const DType dtype = dtype_of(state);
  const int64_t which = state.range(1);
  const bool library = state.range(2) != 0;
  const int64_t out = state.range(3);
  testing::time_op(state, OpKind::gemm, dtype, [&](Operands& on) -> Op {
    const TensorView x = on.random(dtype, {kTokens, kIn}), w = on.random(dtype, {out, kIn}), dy = on.random(dtype, {kTokens, out});
    const TensorView y = on.zeros(dtype, {kTokens, out}), dx = on.zeros(dtype, {kTokens, kIn}),
                     dw = on.zeros(DType::f32, {out, kIn});
    const TensorView scratch = on.zeros(DType::u8, {gemm_scratch_bytes(dtype, kTokens, out, kTokens, threads())});
    const auto product = [=](Stream& stream, TensorView c, ConstTensorView a, bool ta, ConstTensorView b, bool tb, float beta) {
      const Timed timed = stream.charge({OpKind::gemm, 2 * kTokens * kIn * out, 0});
      cpu::gemm(c, a, ta, b, tb, beta, scratch, library ? cpu::Bf16Product::native : cpu::best_bf16_product());
    };
    if (which == forward) return [=](Stream& stream) { product(stream, y, x, false, w, true, 0); };
    if (which == input_gradient) return [=](Stream& stream) { product(stream, dx, dy, false, w, false, 0); };
    return [=](Stream& stream) { product(stream, dw, dy, true, x, false, 1); };
  });
}
void gemm_cases(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"bits", "product", "library", "out"})
      ->UseManualTime()
      ->ArgsProduct({{32}, {0, 1, 2}, {0}, {1408}})
      ->ArgsProduct({{16}, {0, 1, 2}, {0, 1}, {1408, 4096}});
}

// The three products of each linear layer of a model. layer: 0 qkv, 1 attention's output, 2 gate and up, 3 down, 4 the head.
void linear_case(benchmark::State& state) {
  const OpSizes sizes = testing::op_sizes({});
  const int64_t q = sizes.heads * sizes.head_dim, kv = sizes.kv_heads * sizes.head_dim;
  const int64_t shapes[][2] = {{sizes.hidden, q + 2 * kv},
                               {q, sizes.hidden},
                               {sizes.hidden, 2 * sizes.ffn},
                               {sizes.ffn, sizes.hidden},
                               {sizes.hidden, sizes.vocabulary}};
  const int64_t in = shapes[state.range(2)][0], out = shapes[state.range(2)][1];
  const int64_t which = state.range(1);
  const DType dtype = dtype_of(state);
  const Shape input{sizes.tokens, in}, output{sizes.tokens, out}, weight{out, in};
  testing::time_op(state, OpKind::gemm, dtype, [&](Operands& on) -> Op {
    const TensorView scratch =
        on.zeros(DType::u8, {gemm_scratch_bytes(dtype, sizes.tokens, out, in, threads(), testing::device())});
    const TensorView x = which == input_gradient ? on.zeros(dtype, input) : on.random(dtype, input),
                     y = which == forward ? on.zeros(dtype, output) : on.random(dtype, output),
                     w = which == weight_gradient ? on.zeros(DType::f32, weight) : on.random(dtype, weight);
    if (which == forward) return [=](Stream& stream) { gemm(stream, y, x, false, w, true, 0, scratch); };
    if (which == input_gradient) return [=](Stream& stream) { gemm(stream, x, y, false, w, false, 0, scratch); };
    return [=](Stream& stream) { gemm(stream, w, y, true, x, false, 1, scratch); };
  });
}
void linear_cases(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"bits", "product", "layer"})
      ->UseManualTime()
      ->ArgsProduct({{16}, {forward, input_gradient, weight_gradient}, {0, 1, 2, 3, 4}});
}

// FLOPs are those of the causal half. On the cpu the shapes of launch/bench_against_torch. On a GPU one sample of all tokens, eight, and
// one whose backward pass may sum in any order.
AttentionShape attention_shape(int64_t number) {
  const AttentionShape on_cpu[] = {{4, 512, 8, 4, 64}, {1, 1024, 16, 8, 64}, {16, 128, 4, 2, 32}};
  if (!on_gpu()) return on_cpu[number];
  const OpSizes sizes = testing::op_sizes({});
  const int64_t batch = number == 1 ? 8 : 1;
  return {batch, sizes.tokens / batch, sizes.heads, sizes.kv_heads, sizes.head_dim, 1, number != 2};
}

void attention_case(benchmark::State& state) {
  const AttentionShape shape = attention_shape(state.range(2));
  const DType dtype = dtype_of(state);
  const bool backward = state.range(1) != 0;
  const int64_t tokens = shape.batch * shape.sequence;
  testing::time_op(state, OpKind::attention, dtype, [&](Operands& on) -> Op {
    const TensorView qkv = on.random(dtype, {tokens, shape.heads + 2 * shape.kv_heads, shape.head_dim}),
                     dout = on.random(dtype, {tokens, shape.heads, shape.head_dim}), documents = on.zeros(DType::i32, {tokens});
    const TensorView out = on.zeros(dtype, dout.shape), lse = on.zeros(DType::f32, {shape.batch, shape.heads, shape.sequence}),
                     dqkv = on.zeros(dtype, qkv.shape),
                     scratch = on.zeros(DType::u8, {attention_scratch_bytes(shape, dtype, testing::device())});
    const auto go_forward = [=](Stream& stream) { attention_forward(stream, out, lse, qkv, documents, shape, 0.125f, scratch); };
    if (!backward) return go_forward;
    on.prepare(go_forward);
    return [=](Stream& stream) { attention_backward(stream, dqkv, dout, out, lse, qkv, documents, shape, 0.125f, scratch); };
  });
}

void cross_entropy_case(benchmark::State& state) {
  const OpSizes sizes = testing::op_sizes({.vocabulary = 8192, .loss_tokens = 1024});
  const VocabularySlice slice{0, sizes.vocabulary};
  testing::time_op(state, OpKind::cross_entropy, dtype_of(state), [&](Operands& on) -> Op {
    const Shape rows{sizes.loss_tokens};
    const TensorView logits = on.random(dtype_of(state), {sizes.loss_tokens, sizes.vocabulary}),
                     statistics = on.zeros(DType::f32, {1, 3, sizes.loss_tokens}), weights = on.random(DType::f32, rows),
                     loss = on.zeros(DType::f64, {1}), weight = on.zeros(DType::f64, {1}),
                     targets = on.indices(rows, sizes.vocabulary);
    return [=](Stream& stream) { cross_entropy(stream, loss, weight, logits, statistics, targets, weights, slice, true); };
  });
}

[[maybe_unused]] const benchmark::internal::Benchmark* const products =
    on_gpu() ? benchmark::RegisterBenchmark("linear_case", linear_case)->Apply(linear_cases)
             : benchmark::RegisterBenchmark("gemm_case", gemm_case)->Apply(gemm_cases);
BENCHMARK(attention_case)
    ->ArgNames({"bits", "backward", "shape"})
    ->ArgsProduct({testing::float_bits(), {0, 1}, {0, 1, 2}})
    ->UseManualTime();
BENCHMARK(cross_entropy_case)->Apply(testing::float_types);

}  // namespace
}  // namespace drover
