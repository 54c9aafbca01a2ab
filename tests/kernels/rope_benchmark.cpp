#include "kernels/rope.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

void rope_case(benchmark::State& state) {
  constexpr int64_t kTokens = 8192, kHeads = 12, kKvHeads = 4, kHeadDim = 64, kPositions = 2048;
  Stream stream;
  Tensor qkv = random_tensor(dtype_of(state), {kTokens, kHeads + 2 * kKvHeads, kHeadDim}, 1), positions(DType::i32, {kTokens});
  for (int64_t t = 0; t < kTokens; ++t) positions.set(t, static_cast<double>(t % kPositions));
  Tensor cosine(DType::f32, {kPositions, kHeadDim / 2}), sine = cosine;
  rope_table(stream, cosine, sine, rope_frequencies(kHeadDim, 10000, {}));
  for (auto _ : state) {
    if (state.range(1) == 0)
      rope_forward(stream, qkv, positions, cosine, sine, kKvHeads);
    else
      rope_backward(stream, qkv, positions, cosine, sine, kKvHeads);
  }
  testing::report_bandwidth(state, stream, OpKind::rope);
}
BENCHMARK(rope_case)->ArgNames({"bits", "backward"})->ArgsProduct({{32, 16}, {0, 1}})->UseRealTime();

}  // namespace
}  // namespace drover
