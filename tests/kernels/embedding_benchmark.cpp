#include "kernels/embedding.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

constexpr int64_t kTokens = 8192, kRows = 8192, kHidden = 512;

void embedding_forward_case(benchmark::State& state) {
  Stream stream;
  const Tensor tokens = testing::random_indices({kTokens}, kRows, 1), weight = random_tensor(dtype_of(state), {kRows, kHidden}, 2);
  Tensor y(weight.dtype(), {kTokens, kHidden});
  for (auto _ : state) embedding_forward(stream, y, tokens, weight, 0);
  testing::report_bandwidth(state, stream, OpKind::embedding);
}
BENCHMARK(embedding_forward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

void embedding_backward_case(benchmark::State& state) {
  Stream stream;
  const Tensor tokens = testing::random_indices({kTokens}, kRows, 1), dy = random_tensor(dtype_of(state), {kTokens, kHidden}, 2);
  Tensor dweight(DType::f32, {kRows, kHidden});
  for (auto _ : state) embedding_backward(stream, dweight, dy, tokens, 0);
  testing::report_bandwidth(state, stream, OpKind::embedding);
}
BENCHMARK(embedding_backward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

}  // namespace
}  // namespace drover
