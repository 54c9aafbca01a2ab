#include "kernels/embedding.h"
#include "tests/kernels/op_benchmark.h"

namespace drover {
namespace {

using testing::dtype_of;
using testing::Op;
using testing::Operands;
using testing::OpSizes;

OpSizes sizes() { return testing::op_sizes({.tokens = 8192, .hidden = 512, .vocabulary = 8192}); }

void embedding_forward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::embedding, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView tokens = on.indices({sizes().tokens}, sizes().vocabulary),
                     weight = on.random(dtype_of(state), {sizes().vocabulary, sizes().hidden}),
                     y = on.zeros(weight.dtype, {sizes().tokens, sizes().hidden});
    return [=](Stream& stream) { embedding_forward(stream, y, tokens, weight, 0); };
  });
}
BENCHMARK(embedding_forward_case)->Apply(testing::float_types);

void embedding_backward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::embedding, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView tokens = on.indices({sizes().tokens}, sizes().vocabulary),
                     dy = on.random(dtype_of(state), {sizes().tokens, sizes().hidden}),
                     dweight = on.zeros(DType::f32, {sizes().vocabulary, sizes().hidden});
    return [=](Stream& stream) { embedding_backward(stream, dweight, dy, tokens, 0); };
  });
}
BENCHMARK(embedding_backward_case)->Apply(testing::float_types);

}  // namespace
}  // namespace drover
