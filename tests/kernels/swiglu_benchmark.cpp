#include "kernels/swiglu.h"
#include "tests/kernels/peak.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::random_tensor;
using testing::Tensor;

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

constexpr int64_t kTokens = 4096, kFfn = 1408;

void swiglu_forward_case(benchmark::State& state) {
  Stream stream;
  const Tensor gate_up = random_tensor(dtype_of(state), {kTokens, 2 * kFfn}, 1);
  Tensor y(gate_up.dtype(), {kTokens, kFfn});
  for (auto _ : state) swiglu_forward(stream, y, gate_up);
  testing::report_bandwidth(state, stream, OpKind::swiglu);
}
BENCHMARK(swiglu_forward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

void swiglu_backward_case(benchmark::State& state) {
  Stream stream;
  const Tensor gate_up = random_tensor(dtype_of(state), {kTokens, 2 * kFfn}, 1),
               dy = random_tensor(gate_up.dtype(), {kTokens, kFfn}, 2);
  Tensor y(gate_up.dtype(), dy.shape()), dgate_up(gate_up.dtype(), gate_up.shape());
  for (auto _ : state) swiglu_backward(stream, dgate_up, y, dy, gate_up);
  testing::report_bandwidth(state, stream, OpKind::swiglu);
}
BENCHMARK(swiglu_backward_case)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime();

}  // namespace
}  // namespace drover
