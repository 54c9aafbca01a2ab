#include "kernels/adamw.h"

#include <array>

#include "kernels/transfer.h"
#include "tests/kernels/op_benchmark.h"

namespace drover {
namespace {

using testing::Op;
using testing::Operands;
using testing::OpSizes;

void adamw_update_case(benchmark::State& state) {
  const OpSizes sizes = testing::op_sizes({.parameters = int64_t{8} << 20});
  testing::time_op(state, OpKind::optimizer, DType::f32, [&](Operands& on) -> Op {
    const TensorView master = on.random(DType::f32, {sizes.parameters}), m = on.zeros(DType::f32, master.shape),
                     v = on.zeros(DType::f32, master.shape), gradient = on.random(DType::f32, master.shape),
                     weights = on.zeros(DType::bf16, master.shape);
    const TensorView sums = on.zeros(DType::f64, {step_sums}), control = on.zeros(DType::f64, {control_slots});
    on.prepare([&](Stream& stream) {
      std::array<double, step_sums> values{};
      values[weight_sum] = values[squared_norm] = 1;
      upload(stream, sums, values.data());
      prepare_update(stream, control, sums, AdamW{}, 1);
    });
    return [=](Stream& stream) { adamw_update(stream, master, m, v, weights, gradient, control, AdamW{}, 1e-3, 0.1); };
  });
}
BENCHMARK(adamw_update_case)->Apply(testing::manual_time);

}  // namespace
}  // namespace drover
