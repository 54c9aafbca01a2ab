#include "trainer/memory_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/sample_order.h"
#include "kernels/attention.h"
#include "kernels/base/words.h"
#include "trainer/device.h"
#include "trainer/engine.h"
#include "trainer/graph_memory.h"
#include "trainer/model/shape.h"

namespace drover {
namespace {

double gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

// What determinism costs a rank on a GPU, where the layout's sizes differ by it.
std::string attention_arithmetic(const Config& config, const Mesh& mesh) {
  if (device_type(config) != DeviceType::cuda || config.precision.compute != Precision::bf16) return "";
  AttentionShape shape = model_shape(config, mesh, 0).attention();
  const auto scratch = [&](bool deterministic) {
    shape.deterministic = deterministic;
    return gib(attention_scratch_bytes(shape, DType::bf16, {DeviceType::cuda, 0}));
  };
  const bool chosen = config.train.deterministic_attention;
  return fmt::format(
      "\nattention {}deterministic backward: {:.2f} GiB of scratch; train.deterministic_attention: {} needs {:.2f} GiB",
      chosen ? "" : "not ", scratch(chosen), !chosen, scratch(!chosen));
}

std::string graph_arithmetic(const Config& config, const Mesh& mesh) {
  const int64_t nodes = graph_nodes(config, mesh);
  if (nodes == 0) return "";
  return fmt::format("\ngraphs  CUDA graphs of the forward and backward passes: at most {} kernels, some {:.2f} GiB a rank", nodes,
                     gib(graph_bytes(config, mesh)));
}

}  // namespace

WorstRank worst_rank(const Config& config, const Mesh& mesh) {
  // Buffers go round once the pipeline is full: more micro-batches take no more of them, but for the batches, which all ranks have alike.
  Config filling = config;
  filling.train.global_batch = std::min(config.train.global_batch, 2 * config.parallel.pp * config.train.micro_batch * mesh.dp());
  const Programs programs = make_programs(filling, mesh);
  int worst = 0;
  int64_t most = 0;
  for (int stage = 0; stage < mesh.size(Axis::pp); ++stage) {
    const int rank = mesh.rank_of({0, 0, stage, 0, 0});
    const int64_t used = measure_memory(filling, mesh, rank, programs).used();
    if (used <= most) continue;
    most = used;
    worst = rank;
  }
  return {worst, measure_memory(config, mesh, worst, programs)};
}

std::string memory_table(const Arena& memory, int64_t outside, const std::string& title) {
  std::string text = title;
  const auto line = [&](const std::string& name, int64_t bytes) {
    text += fmt::format("\n  {:<12} {:>16} bytes {:>10.3f} GiB", name, bytes, gib(bytes));
  };
  for (const std::string& category : memory.categories()) line(category, memory.used_by(category));
  line("total", memory.used());
  if (outside > 0) line("outside them", outside);
  return text;
}

std::string batch_arithmetic(const Config& config, const Mesh& mesh) {
  const bool by_phase = std::any_of(config.data.phases.begin(), config.data.phases.end(),
                                    [](const PhaseConfig& phase) { return phase.sequence > 0; });
  const int64_t tokens = config.train.global_batch * config.train.sequence;
  return fmt::format(
      "model   {} parameters, {} ({} a stage), {}\nmesh    {} = dp {} * pp {} * cp {} * tp {}, ZeRO-{}\n"
      "batch   {} of {} = {} a step = dp {} * {} of {}\nrun     {}, {}{}{}",
      parameter_count(config.model), counted(config.model.layers, "layer"),
      fmt::join(layers_per_stage(config.model.layers, mesh.size(Axis::pp)), " "),
      config.precision.compute == Precision::bf16 ? "bf16" : "f32", counted(mesh.size(), "rank"), mesh.dp(), mesh.size(Axis::pp),
      mesh.size(Axis::cp), mesh.size(Axis::tp), config.parallel.zero, counted(config.train.global_batch, "sequence"),
      counted(config.train.sequence, "token"), counted(tokens, "token"), mesh.dp(), counted(microbatches(config), "micro-batch"),
      config.train.micro_batch, counted(config.train.steps, "step"),
      by_phase ? "sequences as data.phases says" : fmt::format("{:.3g} tokens", static_cast<double>(tokens_of_run(config))),
      attention_arithmetic(config, mesh), graph_arithmetic(config, mesh));
}

}  // namespace drover
