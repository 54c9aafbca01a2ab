#include "kernels/adamw.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

void adamw_update_case(benchmark::State& state) {
  constexpr int64_t kCount = int64_t{8} << 20;
  Stream stream;
  Tensor master = random_tensor(DType::f32, {kCount}, 1), m(DType::f32, {kCount}), v(DType::f32, {kCount}), weights(DType::bf16, {kCount});
  const Tensor gradient = random_tensor(DType::f32, {kCount}, 2);
  Tensor sums(DType::f64, {step_sums}), control(DType::f64, {control_slots});
  sums.fill(1);
  sums.set(no_data, 0);  // or the update is skipped
  prepare_update(stream, control, sums, AdamW{}, 1);
  stream.reset_totals();
  for (auto _ : state) adamw_update(stream, master, m, v, weights, gradient, control, AdamW{}, 1e-3, 0.1);
  testing::report_bandwidth(state, stream, OpKind::optimizer);
}
BENCHMARK(adamw_update_case)->UseRealTime();

}  // namespace
}  // namespace drover
