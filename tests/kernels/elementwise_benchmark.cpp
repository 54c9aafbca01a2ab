#include "kernels/elementwise.h"
#include "tests/kernels/op_benchmark.h"

namespace drover {
namespace {

using testing::dtype_of;
using testing::Op;
using testing::Operands;
using testing::OpSizes;

OpSizes sizes() { return testing::op_sizes({.tokens = 8192, .hidden = 1024}); }

void cast_case(benchmark::State& state) {
  const DType from = dtype_of(state), to = from == DType::f32 ? DType::bf16 : DType::f32;
  testing::time_op(state, OpKind::elementwise, from, [&](Operands& on) -> Op {
    const TensorView x = on.random(from, {sizes().tokens, sizes().hidden}), y = on.zeros(to, x.shape);
    return [=](Stream& stream) { cast(stream, y, x); };
  });
}
BENCHMARK(cast_case)->ArgName("from_bits")->Arg(32)->Arg(16)->UseManualTime();

void add_case(benchmark::State& state) {
  testing::time_op(state, OpKind::elementwise, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView a = on.random(dtype_of(state), {sizes().tokens, sizes().hidden}), y = on.zeros(a.dtype, a.shape);
    return [=](Stream& stream) { add(stream, y, y, a); };
  });
}
BENCHMARK(add_case)->Apply(testing::float_types);

void copy_case(benchmark::State& state) {
  testing::time_op(state, OpKind::elementwise, DType::f32, [&](Operands& on) -> Op {
    const TensorView x = on.random(DType::f32, {sizes().tokens, sizes().hidden}), y = on.zeros(x.dtype, x.shape);
    return [=](Stream& stream) { copy(stream, y, x); };
  });
}
BENCHMARK(copy_case)->Apply(testing::manual_time);

void fill_zero_case(benchmark::State& state) {
  testing::time_op(state, OpKind::elementwise, DType::f32, [&](Operands& on) -> Op {
    const TensorView y = on.random(DType::f32, {sizes().tokens, sizes().hidden});
    return [=](Stream& stream) { fill_zero(stream, y); };
  });
}
BENCHMARK(fill_zero_case)->Apply(testing::manual_time);

void bias_forward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::elementwise, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView y = on.random(dtype_of(state), {sizes().tokens, sizes().hidden}), bias = on.random(y.dtype, {sizes().hidden});
    return [=](Stream& stream) { bias_forward(stream, y, bias); };
  });
}
BENCHMARK(bias_forward_case)->Apply(testing::float_types);

void bias_backward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::elementwise, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView dy = on.random(dtype_of(state), {sizes().tokens, sizes().hidden}),
                     dbias = on.zeros(DType::f32, {sizes().hidden});
    return [=](Stream& stream) { bias_backward(stream, dbias, dy); };
  });
}
BENCHMARK(bias_backward_case)->Apply(testing::float_types);

}  // namespace
}  // namespace drover
