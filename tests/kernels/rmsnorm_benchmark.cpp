#include "kernels/rmsnorm.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

constexpr int64_t kTokens = 8192, kHidden = 1024;

void rmsnorm_forward_case(benchmark::State& state) {
  Stream stream;
  const Tensor x = random_tensor(dtype_of(state), {kTokens, kHidden}, 1), weight = random_tensor(x.dtype(), {kHidden}, 2);
  Tensor y(x.dtype(), x.shape()), rstd(DType::f32, {kTokens});
  for (auto _ : state) rmsnorm_forward(stream, y, rstd, x, weight, 1e-5f);
  testing::report_bandwidth(state, stream, OpKind::rmsnorm);
}
BENCHMARK(rmsnorm_forward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

void add_rmsnorm_forward_case(benchmark::State& state) {
  Stream stream;
  const Tensor residual = random_tensor(dtype_of(state), {kTokens, kHidden}, 1),
               weight = random_tensor(residual.dtype(), {kHidden}, 2);
  Tensor x(residual.dtype(), residual.shape()), sum = x, y = x, rstd(DType::f32, {kTokens});
  for (auto _ : state) add_rmsnorm_forward(stream, sum, y, rstd, x, residual, weight, 1e-5f);
  testing::report_bandwidth(state, stream, OpKind::rmsnorm);
}
BENCHMARK(add_rmsnorm_forward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

void rmsnorm_backward_case(benchmark::State& state) {
  Stream stream;
  const Tensor x = random_tensor(dtype_of(state), {kTokens, kHidden}, 1), weight = random_tensor(x.dtype(), {kHidden}, 2);
  const Tensor dy = random_tensor(x.dtype(), x.shape(), 3), rstd = random_tensor(DType::f32, {kTokens}, 4);
  Tensor dx(x.dtype(), x.shape()), dweight(DType::f32, {kHidden}), scratch(DType::f32, {rmsnorm_backward_scratch(kHidden, {})});
  for (auto _ : state) rmsnorm_backward(stream, dx, dweight, dy, x, rstd, weight, false, scratch);
  testing::report_bandwidth(state, stream, OpKind::rmsnorm);
}
BENCHMARK(rmsnorm_backward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

}  // namespace
}  // namespace drover
