#include "kernels/rmsnorm.h"
#include "tests/kernels/op_benchmark.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::dtype_of;
using testing::Op;
using testing::Operands;
using testing::OpSizes;

OpSizes sizes() { return testing::op_sizes({.tokens = 8192, .hidden = 1024}); }

void rmsnorm_forward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::rmsnorm, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView x = on.random(dtype_of(state), {sizes().tokens, sizes().hidden}),
                     weight = on.random(x.dtype, {sizes().hidden}), y = on.zeros(x.dtype, x.shape),
                     rstd = on.zeros(DType::f32, {sizes().tokens});
    return [=](Stream& stream) { rmsnorm_forward(stream, y, rstd, x, weight, 1e-5f); };
  });
}
BENCHMARK(rmsnorm_forward_case)->Apply(testing::float_types);

void add_rmsnorm_forward_case(benchmark::State& state) {
  testing::time_op(state, OpKind::rmsnorm, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView residual = on.random(dtype_of(state), {sizes().tokens, sizes().hidden}),
                     weight = on.random(residual.dtype, {sizes().hidden}), x = on.random(residual.dtype, residual.shape),
                     sum = on.zeros(x.dtype, x.shape), y = on.zeros(x.dtype, x.shape),
                     rstd = on.zeros(DType::f32, {sizes().tokens});
    return [=](Stream& stream) { add_rmsnorm_forward(stream, sum, y, rstd, x, residual, weight, 1e-5f); };
  });
}
BENCHMARK(add_rmsnorm_forward_case)->Apply(testing::float_types);

void rmsnorm_backward_case(benchmark::State& state) {
  const int64_t hidden = sizes().hidden, scratch_count = rmsnorm_backward_scratch(hidden, testing::device());
  testing::time_op(state, OpKind::rmsnorm, dtype_of(state), [&](Operands& on) -> Op {
    const TensorView x = on.random(dtype_of(state), {sizes().tokens, hidden}), weight = on.random(x.dtype, {hidden}),
                     dy = on.random(x.dtype, x.shape), rstd = on.random(DType::f32, {sizes().tokens});
    const TensorView dx = on.zeros(x.dtype, x.shape), dweight = on.zeros(DType::f32, {hidden}),
                     scratch = on.zeros(DType::f32, {scratch_count});
    return [=](Stream& stream) { rmsnorm_backward(stream, dx, dweight, dy, x, rstd, weight, false, scratch); };
  });
}
BENCHMARK(rmsnorm_backward_case)->Apply(testing::float_types);

}  // namespace
}  // namespace drover
