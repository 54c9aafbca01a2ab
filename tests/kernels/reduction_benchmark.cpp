#include "kernels/reduction.h"
#include "tests/kernels/op_benchmark.h"

namespace drover {
namespace {

using testing::Op;
using testing::Operands;
using testing::OpSizes;

void sum_of_squares_case(benchmark::State& state) {
  const OpSizes sizes = testing::op_sizes({.parameters = int64_t{16} << 20});
  testing::time_op(state, OpKind::reduction, DType::f32, [&](Operands& on) -> Op {
    const TensorView x = on.random(DType::f32, {sizes.parameters}), sum = on.zeros(DType::f64, {1}),
                     scratch = on.zeros(DType::f64, {kSumOfSquaresScratch});
    return [=](Stream& stream) { sum_of_squares(stream, sum, x, scratch); };
  });
}
BENCHMARK(sum_of_squares_case)->Apply(testing::manual_time);

}  // namespace
}  // namespace drover
