#include "tests/kernels/op_benchmark.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <vector>

#include "kernels/base/philox.h"
#include "kernels/cuda/device.h"
#include "kernels/measure.h"
#include "kernels/transfer.h"
#include "tests/kernels/testing.h"

namespace drover::testing {
namespace {

bool on_gpu() { return device().type == DeviceType::cuda; }
bool tiny() { return std::getenv("DROVER_BENCH_TINY") != nullptr; }

double copy_rate() {
  Stream stream(device());
  static const double rate = measure_copy_rate(stream);
  return rate;
}

// On the cpu beside each case: machines that are shared change their speed.
double gemm_rate(DType dtype) {
  constexpr int64_t kLargest = 8192;
  static std::map<DType, double> rates;
  Stream stream(device());
  if (!on_gpu() || !rates.contains(dtype)) rates[dtype] = measure_gemm_rate(stream, dtype, kLargest);
  return rates[dtype];
}

int64_t sets_that_rotate(int64_t bytes) {
  constexpr int64_t kCaches = 4;
  return on_gpu() ? std::max<int64_t>(2, (kCaches * cuda::cache_bytes(device().index) + bytes - 1) / bytes) : 1;
}

void upload_values(Stream& stream, TensorView to, const std::function<int64_t(int64_t)>& value) {
  if (to.empty()) return;
  std::vector<int32_t> values(static_cast<size_t>(to.count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int32_t>(value(static_cast<int64_t>(i)));
  upload(stream, to, values.data());
}

}  // namespace

OpSizes op_sizes(const OpSizes& cpu) {
  if (!on_gpu()) return cpu;
  if (tiny()) return {64, 128, 256, 512, 4, 2, 32, 32, 4096};
  return {8192, 4096, 14336, 128256, 32, 8, 128, 2048, int64_t{256} << 20};
}

std::vector<int64_t> float_bits() { return on_gpu() ? std::vector<int64_t>{16} : std::vector<int64_t>{32, 16}; }

void float_types(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("bits")->UseManualTime();
  for (const int64_t bits : float_bits()) benchmark->Arg(bits);
}

void manual_time(benchmark::internal::Benchmark* benchmark) { benchmark->UseManualTime(); }

DType dtype_of(const benchmark::State& state) { return state.range(0) == 16 ? DType::bf16 : DType::f32; }

TensorView Operands::zeros(DType dtype, const Shape& shape) { return arena_.carve("benchmark", "operand", dtype, shape); }

TensorView Operands::random(DType dtype, const Shape& shape) {
  const TensorView tensor = zeros(dtype, shape);
  if (!tensor.empty()) fill_random(stream_, tensor, ++seed_);
  return tensor;
}

TensorView Operands::indices(const Shape& shape, int64_t below) {
  const TensorView tensor = zeros(DType::i32, shape);
  upload_values(stream_, tensor, [below](int64_t i) {
    return static_cast<int64_t>(philox4x32(1, static_cast<uint64_t>(i), 0)[0] % static_cast<uint64_t>(below));
  });
  return tensor;
}

TensorView Operands::counted(const Shape& shape, int64_t below) {
  const TensorView tensor = zeros(DType::i32, shape);
  upload_values(stream_, tensor, [below](int64_t i) { return i % below; });
  return tensor;
}

void Operands::prepare(const std::function<void(Stream&)>& work) {
  if (!arena_.measuring()) work(stream_);
}

void time_op(benchmark::State& state, OpKind kind, DType dtype, const std::function<Op(Operands&)>& make) {
  Stream stream(device());
  Arena counting(device());
  Operands counted(counting, stream);
  make(counted);
  const int64_t bytes = counting.used(), sets = sets_that_rotate(bytes);
  Arena arena(sets * bytes, device());
  std::vector<Op> ops;
  for (int64_t set = 0; set < sets; ++set) {
    Operands operands(arena, stream);
    ops.push_back(make(operands));
    ops.back()(stream);
  }
  stream.synchronize();
  stream.reset_totals();
  const int64_t at_once = on_gpu() ? std::max<int64_t>(sets, tiny() ? 1 : 16) : 1;
  size_t next = 0;
  double seconds = 0;
  while (state.KeepRunningBatch(at_once)) {
    const double batch = seconds_of(stream, [&] {
      for (int64_t i = 0; i < at_once; ++i) ops[next++ % ops.size()](stream);
    });
    state.SetIterationTime(batch);
    seconds += batch;
  }
  const OpTotals& totals = stream.totals(kind);
  const double moved = static_cast<double>(totals.bytes), done = static_cast<double>(totals.flops);
  state.counters["GB/s"] = moved / seconds / 1e9;
  if (totals.flops > 0) state.counters["GFLOP/s"] = done / seconds / 1e9;
  const bool products = kind == OpKind::gemm || kind == OpKind::attention;  // the others do not reach the rate of products
  state.counters["of_limit"] = std::max(moved / copy_rate(), products ? done / gemm_rate(dtype) : 0) / seconds;
}

}  // namespace drover::testing

// The device's limits first: what each share is of.
int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const drover::Device device = drover::testing::device();
  benchmark::AddCustomContext("device", device.type == drover::DeviceType::cuda ? drover::cuda::device_name(device.index) : "cpu");
  benchmark::AddCustomContext("copy_GB_per_s", std::to_string(drover::testing::copy_rate() / 1e9));
  benchmark::AddCustomContext("bf16_gemm_GFLOP_per_s", std::to_string(drover::testing::gemm_rate(drover::DType::bf16) / 1e9));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
