#include "kernels/rope.h"

#include <algorithm>

#include "tests/kernels/op_benchmark.h"

namespace drover {
namespace {

using testing::dtype_of;
using testing::Op;
using testing::Operands;
using testing::OpSizes;

void rope_case(benchmark::State& state) {
  const OpSizes sizes = testing::op_sizes({.tokens = 8192, .heads = 12, .kv_heads = 4, .head_dim = 64});
  const int64_t positions_count = std::min<int64_t>(sizes.tokens, 2048);
  testing::time_op(state, OpKind::rope, dtype_of(state), [&](Operands& on) -> Op {
    const int64_t kv_heads = sizes.kv_heads;
    const TensorView qkv = on.random(dtype_of(state), {sizes.tokens, sizes.heads + 2 * kv_heads, sizes.head_dim}),
                     positions = on.counted({sizes.tokens}, positions_count),
                     cosine = on.zeros(DType::f32, {positions_count, sizes.head_dim / 2}),
                     sine = on.zeros(DType::f32, cosine.shape);
    on.prepare([&](Stream& stream) { rope_table(stream, cosine, sine, rope_frequencies(sizes.head_dim, 10000, {})); });
    if (state.range(1) == 0) return [=](Stream& stream) { rope_forward(stream, qkv, positions, cosine, sine, kv_heads); };
    return [=](Stream& stream) { rope_backward(stream, qkv, positions, cosine, sine, kv_heads); };
  });
}
BENCHMARK(rope_case)->ArgNames({"bits", "backward"})->ArgsProduct({testing::float_bits(), {0, 1}})->UseManualTime();

}  // namespace
}  // namespace drover
