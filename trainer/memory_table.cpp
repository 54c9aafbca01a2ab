#include "trainer/memory_table.h"

#include <fmt/format.h>

#include "trainer/engine.h"
#include "trainer/model/shape.h"

namespace drover {

WorstRank worst_rank(const Config& config, const Mesh& mesh) {
  WorstRank worst;
  for (int stage = 0; stage < mesh.size(Axis::pp); ++stage) {
    const int rank = mesh.rank_of({0, 0, stage, 0, 0});
    Arena memory = measure_memory(config, mesh, rank);
    if (memory.used() > worst.memory.used()) worst = {rank, std::move(memory)};
  }
  return worst;
}

std::string memory_table(const Arena& memory, const std::string& title) {
  std::string text = fmt::format("{}\n", title);
  for (const std::string& category : memory.categories())
    text += fmt::format("  {:<12} {:>16} bytes {:>10.3f} GiB\n", category, memory.used_by(category), static_cast<double>(memory.used_by(category)) / (1 << 30));
  return text + fmt::format("  {:<12} {:>16} bytes {:>10.3f} GiB", "total", memory.used(), static_cast<double>(memory.used()) / (1 << 30));
}

std::string batch_arithmetic(const Config& config, const Mesh& mesh) {
  const int64_t tokens = config.train.global_batch * config.train.sequence;
  return fmt::format(
      "model   {} parameters, {} layers ({} a stage), {}\nmesh    {} ranks = dp {} * pp {} * cp {} * tp {}, ZeRO-{}\n"
      "batch   {} sequences of {} tokens = {} tokens a step = dp {} * {} micro-batches of {}\nrun     {} steps, {:.3g} tokens",
      parameter_count(config.model), config.model.layers, fmt::join(layers_per_stage(config.model.layers, mesh.size(Axis::pp)), " "),
      config.precision.compute == Precision::bf16 ? "bf16" : "f32", mesh.size(), mesh.dp(), mesh.size(Axis::pp), mesh.size(Axis::cp),
      mesh.size(Axis::tp), config.parallel.zero, config.train.global_batch, config.train.sequence, tokens, mesh.dp(), microbatches(config),
      config.train.micro_batch, config.train.steps, static_cast<double>(tokens) * static_cast<double>(config.train.steps));
}

}  // namespace drover
