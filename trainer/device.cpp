#include "trainer/device.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/base/host.h"
#include "kernels/base/words.h"
#include "kernels/cuda/device.h"
#include "kernels/gemm.h"
#include "trainer/build_info.h"
#include "trainer/memory_table.h"

namespace drover {
namespace {

int gpu_of(const Config& config, const LauncherView& view) { return static_cast<int>(view.local_rank / config.run.ranks_per_gpu); }

// "" where this rank has a GPU.
std::string reason_without(const Config& config, const LauncherView& view) {
  if (!cuda::linked()) return "this program was built without CUDA";
  const int count = cuda::device_count();
  if (count == 0) return "no GPU is seen";
  if (gpu_of(config, view) < count) return "";
  return fmt::format("{} ranks, {}, run.ranks_per_gpu {}", view.local_size, counted(count, "GPU"), config.run.ranks_per_gpu);
}

}  // namespace

DeviceType device_type(const Config& config) { return config.run.device == "cuda" ? DeviceType::cuda : DeviceType::cpu; }

bool may_use_gpu(const Config& config) { return config.run.device != "cpu" && cuda::linked() && cuda::device_count() > 0; }

Device choose_device(Config& config, const LauncherView& view, Communicator& world) {
  if (config.run.device == "cpu") return {};
  const std::string mine = reason_without(config, view);
  std::set<std::string> without;
  int ranks = 0;
  for (const std::string& text : world.gather_text(mine.empty() ? "" : fmt::format("{}: {}", host_name(), mine))) {
    if (!text.empty()) without.insert(text);
    ranks += !text.empty();
  }
  const bool everywhere = ranks == 0, nowhere = ranks == world.size();
  if (!everywhere && (config.run.device == "cuda" || !nowhere))
    throw Error(ExitCode::hardware,
                fmt::format("run.device {}: {} of {} ranks have no GPU ({}); `run.device: cpu` trains without GPUs",
                            config.run.device, ranks, world.size(), fmt::join(without, "; ")));
  config.run.device = everywhere ? "cuda" : "cpu";
  if (!everywhere) return {};
  const Device device{DeviceType::cuda, gpu_of(config, view)};
  require_device_memory(config, Mesh(config.parallel), device);
  return device;
}

std::string arithmetic_of(Device device) {
  if (device.type == DeviceType::cpu) return instruction_set();
  return fmt::format("{}, {}, {}", cuda::device_name(device.index), gemm_library(device), attention_library(device));
}

std::string describe(Device device, int64_t threads) {
  const std::string arithmetic = arithmetic_of(device);
  return device.type == DeviceType::cpu ? fmt::format("{} a rank, {}", counted(threads, "thread"), arithmetic) : arithmetic;
}

}  // namespace drover
