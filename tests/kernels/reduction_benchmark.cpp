#include "kernels/reduction.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

void sum_of_squares_case(benchmark::State& state) {
  Stream stream;
  const Tensor x = random_tensor(DType::f32, {int64_t{16} << 20}, 1);
  Tensor sum(DType::f64, {1}), scratch(DType::f64, {kSumOfSquaresScratch});
  for (auto _ : state) sum_of_squares(stream, sum, x, scratch);
  testing::report_bandwidth(state, stream, OpKind::reduction);
}
BENCHMARK(sum_of_squares_case)->UseRealTime();

}  // namespace
}  // namespace drover
