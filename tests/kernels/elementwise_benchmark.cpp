#include "kernels/elementwise.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

constexpr int64_t kTokens = 8192, kColumns = 1024;

void cast_case(benchmark::State& state) {
  Stream stream;
  const DType from = dtype_of(state);
  const Tensor x = random_tensor(from, {kTokens, kColumns}, 1);
  Tensor y(from == DType::f32 ? DType::bf16 : DType::f32, x.shape());
  for (auto _ : state) cast(stream, y, x);
  testing::report_bandwidth(state, stream, OpKind::elementwise);
}
BENCHMARK(cast_case)->ArgName("from_bits")->Arg(32)->Arg(16)->UseRealTime();

void add_case(benchmark::State& state) {
  Stream stream;
  const Tensor a = random_tensor(dtype_of(state), {kTokens, kColumns}, 1);
  Tensor y(a.dtype(), a.shape());
  for (auto _ : state) add(stream, y, y, a);
  testing::report_bandwidth(state, stream, OpKind::elementwise);
}
BENCHMARK(add_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

void copy_case(benchmark::State& state) {
  Stream stream;
  const Tensor x = random_tensor(DType::f32, {kTokens, kColumns}, 1);
  Tensor y(x.dtype(), x.shape());
  for (auto _ : state) copy(stream, y, x);
  testing::report_bandwidth(state, stream, OpKind::elementwise);
}
BENCHMARK(copy_case)->UseRealTime();

void fill_zero_case(benchmark::State& state) {
  Stream stream;
  Tensor y(DType::f32, {kTokens, kColumns});
  for (auto _ : state) fill_zero(stream, y);
  testing::report_bandwidth(state, stream, OpKind::elementwise);
}
BENCHMARK(fill_zero_case)->UseRealTime();

void bias_forward_case(benchmark::State& state) {
  Stream stream;
  Tensor y(dtype_of(state), {kTokens, kColumns}), bias = random_tensor(y.dtype(), {kColumns}, 1);
  for (auto _ : state) bias_forward(stream, y, bias);
  testing::report_bandwidth(state, stream, OpKind::elementwise);
}
BENCHMARK(bias_forward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

void bias_backward_case(benchmark::State& state) {
  Stream stream;
  const Tensor dy = random_tensor(dtype_of(state), {kTokens, kColumns}, 1);
  Tensor dbias(DType::f32, {kColumns});
  for (auto _ : state) bias_backward(stream, dbias, dy);
  testing::report_bandwidth(state, stream, OpKind::elementwise);
}
BENCHMARK(bias_backward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

}  // namespace
}  // namespace drover
