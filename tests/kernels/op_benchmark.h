// What benchmarks of ops share. On the cpu an op is timed by itself, its operands where it left them. On a GPU (DROVER_TEST_DEVICE=cuda) many are
// queued at a time, on operands that rotate over at least four times the GPU's cache, and its events tell the time.
#pragma once
#include <benchmark/benchmark.h>

#include <functional>
#include <vector>

#include "kernels/arena.h"
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover::testing {

struct OpSizes {
  int64_t tokens = 0, hidden = 0, ffn = 0, vocabulary = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t loss_tokens = 0;  // of which the logits lie there at a time
  int64_t parameters = 0;   // of an optimizer's update
};
// `cpu` on the cpu. On a GPU those of Llama 3 8B with 8,192 tokens; with DROVER_BENCH_TINY=1, which is for GPUs that the cpu plays, a few.
OpSizes op_sizes(const OpSizes& cpu);

// Argument "bits": 32 and 16, on a GPU 16 alone.
std::vector<int64_t> float_bits();
void float_types(benchmark::internal::Benchmark* benchmark);
void manual_time(benchmark::internal::Benchmark* benchmark);
DType dtype_of(const benchmark::State& state);  // of argument 0, bits

// One set of operands of an op, carved from an arena, which may be one that only counts.
class Operands {
 public:
  Operands(Arena& arena, Stream& stream) : arena_(arena), stream_(stream) {}
  TensorView zeros(DType dtype, const Shape& shape);
  TensorView random(DType dtype, const Shape& shape);      // normal values
  TensorView indices(const Shape& shape, int64_t below);   // i32, random in [0, below)
  TensorView counted(const Shape& shape, int64_t below);   // i32, 0, 1, ... below - 1, 0, ...
  void prepare(const std::function<void(Stream&)>& work);  // now, where the operands have memory
 private:
  Arena& arena_;
  Stream& stream_;
  uint64_t seed_ = 0;
};
using Op = std::function<void(Stream&)>;

// Times what `make` returns, for as many sets of operands as rotate. Columns: "GB/s" and "GFLOP/s" of what ops of that kind were charged, and
// "of_limit", the share of the time that the op would need at best: its bytes at the rate of a copy, or its FLOPs at that of a square
// product, whichever takes longer. It may be above 1 on the cpu, where caches hold the operands.
void time_op(benchmark::State& state, OpKind kind, DType dtype, const std::function<Op(Operands&)>& make);

}  // namespace drover::testing
