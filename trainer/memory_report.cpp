#include "trainer/memory_report.h"

#include <fmt/format.h>

#include "kernels/cuda/device.h"
#include "trainer/memory_limit.h"
#include "trainer/process_memory.h"

namespace drover {
namespace {

struct Used {
  int64_t planned = 0, used = 0;  // bytes
};

// Of the rank that used most beyond its plan.
Used worst_of(Communicator& world, const Used& mine) {
  Used worst;
  bool first = true;
  for (const std::string& text : world.gather_text(fmt::format("{} {}", mine.planned, mine.used))) {
    const Used rank{std::stoll(text), std::stoll(text.substr(text.find(' ')))};
    if (first || rank.used - rank.planned > worst.used - worst.planned) worst = rank;
    first = false;
  }
  return worst;
}

}  // namespace

std::string memory_report(Communicator& world, const Config& config, const Mesh& mesh, Device device, int64_t planned,
                          int64_t resident_before) {
  if (device.type == DeviceType::cpu) {
    const Used worst = worst_of(world, {planned, peak_resident_bytes() - resident_before});
    return fmt::format("memory  planned {} bytes, resident {} bytes more than before (the rank with the largest excess)",
                       worst.planned, worst.used);
  }
  if (config.run.ranks_per_gpu > 1) return "memory  of a GPU that ranks share: what each of them holds is not known";
  const cuda::Memory memory = cuda::memory_of(device.index);
  const Used worst = worst_of(world, {planned, memory.total - memory.free});
  return fmt::format("memory  {} bytes on the GPU outside the planned tensors, {} were expected (the rank with most)",
                     worst.used - worst.planned, bytes_outside_arenas(config, mesh));
}

}  // namespace drover
