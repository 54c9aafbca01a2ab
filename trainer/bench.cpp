#include "trainer/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/base/philox.h"
#include "kernels/base/threads.h"
#include "kernels/base/words.h"
#include "kernels/measure.h"
#include "kernels/transfer.h"
#include "trainer/build_info.h"
#include "trainer/device.h"
#include "trainer/engine.h"
#include "trainer/memory_limit.h"
#include "trainer/memory_table.h"
#include "trainer/model/shape.h"
#include "trainer/run.h"
#include "trainer/timed_products.h"

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;

// Random tokens, one document a sample, every target counted.
void fill(Stream& stream, const Batch& batch, int64_t sequence, int64_t vocabulary, uint64_t seed) {
  const size_t count = static_cast<size_t>(batch.token.count());
  std::vector<int32_t> token(count), target(count), position(count), document(count, 0);
  for (size_t t = 0; t < count; ++t) {
    const auto draw = philox4x32(seed, t, 0);
    token[t] = static_cast<int32_t>(draw[0] % static_cast<uint64_t>(vocabulary));
    target[t] = static_cast<int32_t>(draw[1] % static_cast<uint64_t>(vocabulary));
    position[t] = static_cast<int32_t>(t % static_cast<size_t>(sequence));
  }
  const std::vector<float> weight(count, 1.0f);
  upload(stream, batch.token, token.data());
  upload(stream, batch.target, target.data());
  upload(stream, batch.position, position.data());
  upload(stream, batch.document_begin, document.data());
  upload(stream, batch.weight, weight.data());
}

// Steps one after the other, and what this rank did in them.
struct Steps {
  std::vector<double> seconds;                                   // of each step, of the slowest rank, sorted
  std::array<OpTotals, static_cast<size_t>(OpKind::count)> ops;  // over all steps
  CommTotals communication;
  double median() const { return seconds[seconds.size() / 2]; }
  double total() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }
};

struct Measured {
  Steps steps, by_op;                   // by_op: with the breakdown's clock, which costs time on a GPU
  double gemm_rate = 0, copy_rate = 0;  // of all ranks together; of this rank
};

double sum_over_ranks(Communicator& world, double mine) {
  double sum = 0;
  for (const std::string& text : world.gather_text(fmt::format("{:.17g}", mine))) sum += std::stod(text);
  return sum;
}

double slowest(Communicator& world, double mine) {
  double most = 0;
  for (const std::string& text : world.gather_text(fmt::format("{:.17g}", mine))) most = std::max(most, std::stod(text));
  return most;
}

Steps timed_steps(Engine& engine, World& world, const Groups& groups, const std::vector<Batch>& batches, int64_t first,
                  int64_t count) {
  Steps steps;
  engine.stream().reset_totals();
  const CommTotals before = groups.totals();
  for (int64_t step = first; step < first + count; ++step) {
    const Clock::time_point begin = Clock::now();
    engine.step(step, batches);
    steps.seconds.push_back(slowest(world.all(), std::chrono::duration<double>(Clock::now() - begin).count()));
  }
  engine.stream().collect_times();
  steps.communication = groups.totals();
  steps.communication.calls -= before.calls;
  steps.communication.bytes -= before.bytes;
  steps.communication.seconds -= before.seconds;
  for (size_t kind = 0; kind < steps.ops.size(); ++kind) steps.ops[kind] = engine.stream().totals(static_cast<OpKind>(kind));
  std::sort(steps.seconds.begin(), steps.seconds.end());
  return steps;
}

Measured measure(const Config& config, const Mesh& mesh, World& world, const BenchOptions& options, Device device,
                 const Groups& groups, Engine& engine) {
  if (device.type == DeviceType::cuda) choose_products(world.all(), engine, device, config.run.timed_products, std::nullopt);
  engine.initialize();
  std::vector<Batch> batches = engine.train_buffers();
  batches.resize(batches.size() / 2);
  for (size_t i = 0; i < batches.size(); ++i)
    fill(engine.stream(), batches[i], config.train.sequence, config.model.vocab,
         static_cast<uint64_t>(mesh.dp_coordinate(world.rank())) * 1000 + i);
  Measured measured;
  const DType dtype = config.precision.compute == Precision::bf16 ? DType::bf16 : DType::f32;
  for (int64_t step = 1; step <= options.warmup; ++step) engine.step(step, batches);
  Stream probe(device);
  measured.copy_rate = measure_copy_rate(probe);
  measured.gemm_rate = sum_over_ranks(world.all(), measure_gemm_rate(probe, dtype));
  measured.steps = measured.by_op = timed_steps(engine, world, groups, batches, options.warmup + 1, options.steps);
  // Before and after what is measured: machines that are shared change their speed.
  measured.gemm_rate = (measured.gemm_rate + sum_over_ranks(world.all(), measure_gemm_rate(probe, dtype))) / 2;
  if (options.breakdown && device.type == DeviceType::cuda && !config.run.cuda_graphs) {
    engine.stream().time_ops();
    measured.by_op = timed_steps(engine, world, groups, batches, options.warmup + options.steps + 1, options.steps);
  }
  return measured;
}

void say(const std::string& error) { std::fputs(fmt::format("drover: error: {}\n", error).c_str(), stderr); }

// Who failed ends the job at once: others may wait for it, and a destructor for a GPU that waits for others.
Measured measure_or_end(const Config& config, const Mesh& mesh, World& world, const BenchOptions& options, Device device) {
  GroupSet set(world, mesh, config.model.tied_embeddings, {device, config.run.communication == "nccl", say});
  Engine engine(config, mesh, world.rank(), set.groups(), device);
  try {
    return measure(config, mesh, world, options, device, set.groups(), engine);
  } catch (const std::exception& error) {
    say(message_of(error));
    world.abort(static_cast<int>(exit_code_of(error)));
  }
}

// Seconds that an op's work takes at best: the larger of FLOPs at the rate of matrix products and bytes at the rate of a copy.
double limit_seconds(const Measured& measured, const OpTotals& op, int ranks) {
  return std::max(static_cast<double>(op.flops) / (measured.gemm_rate / ranks), static_cast<double>(op.bytes) / measured.copy_rate);
}

// One line an op, on a GPU of its own time: time of a step, and what share of it the op's limit would need.
void print_breakdown(const Measured& measured, int ranks) {
  const double steps = static_cast<double>(measured.by_op.seconds.size()), all = measured.by_op.total();
  fmt::print("{:<14} {:>7} {:>10} {:>7} {:>9} {:>8} {:>9}\n", "of a step", "calls", "ms", "share", "GFLOP/s", "GB/s", "of limit");
  double accounted = 0;
  const auto line = [&](const char* name, const OpTotals& op, bool limited) {
    if (op.calls == 0) return;
    accounted += op.seconds;
    // In CUDA graphs an op has no time of its own.
    const auto rate = [&](int64_t amount) {
      return op.seconds == 0 ? "" : fmt::format("{:.1f}", static_cast<double>(amount) / op.seconds / 1e9);
    };
    fmt::print("{:<14} {:>7.0f} {:>10.3f} {:>6.1f}% {:>9} {:>8} {:>9}\n", name, static_cast<double>(op.calls) / steps,
               1e3 * op.seconds / steps, 100 * op.seconds / all, rate(op.flops), rate(op.bytes),
               limited && op.seconds > 0 ? fmt::format("{:.0f} %", 100 * limit_seconds(measured, op, ranks) / op.seconds) : "");
  };
  for (size_t kind = 0; kind < measured.by_op.ops.size(); ++kind)
    line(name_of(static_cast<OpKind>(kind)), measured.by_op.ops[kind], true);
  const CommTotals& comm = measured.by_op.communication;
  line("communication", {comm.calls, 0, comm.bytes, comm.seconds}, false);
  fmt::print("{:<14} {:>7} {:>10.3f} {:>6.1f}%\n", "the rest", "", 1e3 * (all - accounted) / steps, 100 * (all - accounted) / all);
}

nlohmann::json breakdown(const Measured& measured, int ranks) {
  nlohmann::json ops = nlohmann::json::object();
  const double steps = static_cast<double>(measured.by_op.seconds.size());
  for (size_t kind = 0; kind < measured.by_op.ops.size(); ++kind) {
    const OpTotals& op = measured.by_op.ops[kind];
    if (op.calls == 0) continue;
    ops[name_of(static_cast<OpKind>(kind))] = {{"calls", static_cast<double>(op.calls) / steps},
                                               {"seconds", op.seconds / steps},
                                               {"share", op.seconds / measured.by_op.total()},
                                               {"of_limit", limit_seconds(measured, op, ranks) / op.seconds}};
  }
  return ops;
}

}  // namespace

int bench_step(const TrainRequest& request, const BenchOptions& options, const LauncherView& view) {
  Config config = resolve_config(request, view.size);
  resolve_threads(config, view);
  set_threads(static_cast<int>(config.run.threads));
  const Mesh mesh(config.parallel);
  if (!may_use_gpu(config)) require_memory(config, mesh, view.local_size);
  World world(view);
  const DeviceChoice choice = choose_device(config, view, world.all());
  const Measured measured = measure_or_end(config, mesh, world, options, choice.device);
  if (world.rank() != 0) return 0;
  const double tokens = static_cast<double>(config.train.global_batch * config.train.sequence),
               rate = tokens / measured.steps.median();
  const double flops = rate * flops_per_token(config.model, config.train.sequence);
  const char* dtype = config.precision.compute == Precision::bf16 ? "bf16" : "f32";
  fmt::print("{}\n", batch_arithmetic(config, mesh));
  fmt::print("{}: {}, {}\n", counted(world.size(), "rank"), describe(choice.device, config.run.threads), build_id());
  for (const std::string& line : choice.lines) fmt::print("{}\n", line);
  fmt::print("step    {:.2f} ms, the median of {} ({:.2f} to {:.2f}); {:.0f} tokens/s\n", 1e3 * measured.steps.median(),
             measured.steps.seconds.size(), 1e3 * measured.steps.seconds.front(), 1e3 * measured.steps.seconds.back(), rate);
  fmt::print("rate    {:.1f} GFLOP/s, {:.1f} % of the {} matrix products measured beside it ({:.1f} GFLOP/s)\n", flops / 1e9,
             100 * flops / measured.gemm_rate, dtype, measured.gemm_rate / 1e9);
  if (options.breakdown) print_breakdown(measured, world.size());
  if (options.json) {
    nlohmann::json figures{{"device", config.run.device},
                           {"dtype", dtype},
                           {"ranks", world.size()},
                           {"threads", config.run.threads},
                           {"tokens_per_s", rate},
                           {"gflop_per_s", flops / 1e9},
                           {"gemm_gflop_per_s", measured.gemm_rate / 1e9},
                           {"share_of_gemm_rate", flops / measured.gemm_rate},
                           {"step_s_median", measured.steps.median()},
                           {"step_s_min", measured.steps.seconds.front()},
                           {"step_s_max", measured.steps.seconds.back()}};
    if (options.breakdown) figures["ops"] = breakdown(measured, world.size());
    fmt::print("{}\n", figures.dump());
  }
  return 0;
}

}  // namespace drover
