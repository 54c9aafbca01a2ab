#include "kernels/swiglu.h"
#include "tests/kernels/op_benchmark.h"

namespace drover {
namespace {

using testing::dtype_of;
using testing::Op;
using testing::Operands;
using testing::OpSizes;

OpSizes sizes() { return testing::op_sizes({.tokens = 4096, .ffn = 1408}); }

void swiglu_forward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::swiglu, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView gate_up = on.random(dtype_of(state), {sizes().tokens, 2 * sizes().ffn}),
                     y = on.zeros(gate_up.dtype, {sizes().tokens, sizes().ffn});
    return [=](Stream& stream) { swiglu_forward(stream, y, gate_up); };
  });
}
BENCHMARK(swiglu_forward_case)->Apply(testing::float_types);

void swiglu_backward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::swiglu, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView gate_up = on.random(dtype_of(state), {sizes().tokens, 2 * sizes().ffn}),
                     dy = on.random(gate_up.dtype, {sizes().tokens, sizes().ffn}),
                     dgate_up = on.zeros(gate_up.dtype, gate_up.shape), y = on.zeros(dy.dtype, dy.shape);
    return [=](Stream& stream) { swiglu_backward(stream, dgate_up, y, dy, gate_up); };
  });
}
BENCHMARK(swiglu_backward_case)->Apply(testing::float_types);

}  // namespace
}  // namespace drover
