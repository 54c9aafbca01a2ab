#include "trainer/device.h"

#include <fmt/format.h>

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/base/host.h"
#include "kernels/base/words.h"
#include "kernels/cuda/device.h"
#include "kernels/gemm.h"
#include "parallel/cuda/nccl_communicator.h"
#include "trainer/build_info.h"
#include "trainer/gpu_map.h"
#include "trainer/memory_limit.h"

namespace drover {
namespace {

int gpu_of(const Config& config, const LauncherView& view) {
  return cuda::device_count() == 1 ? 0 : static_cast<int>(view.local_rank / config.run.ranks_per_gpu);
}

// "" where this rank has a GPU.
std::string reason_without(const Config& config, const LauncherView& view) {
  if (!cuda::linked()) return "this program was built without CUDA";
  const int count = cuda::device_count();
  if (count == 0) return "no GPU is seen";
  if (gpu_of(config, view) < count) return "";
  return fmt::format("{} ranks, {}, run.ranks_per_gpu {}", view.local_size, counted(count, "GPU"), config.run.ranks_per_gpu);
}

// "" where this rank finds NCCL.
std::string reason_without_nccl(std::string& version) {
  if (!nccl::linked()) return "this program was built without NCCL";
  try {
    version = nccl::version();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

// Decides run.communication, and says so.
std::string choose_communication(Config& config, Communicator& world) {
  std::string& chosen = config.run.communication;
  if (chosen == "host") return "host memory and MPI (run.communication: host)";
  if (chosen == "auto" && config.run.ranks_per_gpu > 1) {
    chosen = "host";
    return "host memory and MPI, because ranks share GPUs (run.ranks_per_gpu)";
  }
  std::string version;
  const std::string mine = reason_without_nccl(version);
  std::set<std::string> without, versions;
  int ranks = 0;
  for (const std::string& text : world.gather_text(mine.empty() ? "+" + version : host_name() + ": " + mine)) {
    (text[0] == '+' ? versions : without).insert(text[0] == '+' ? text.substr(1) : text);
    ranks += text[0] != '+';
  }
  if (ranks > 0 && (chosen == "nccl" || ranks < world.size()))
    throw Error(
        ExitCode::hardware,
        fmt::format("run.communication {}: {} of {} ranks have no NCCL ({}{}); `run.communication: host` goes by way of host "
                    "memory and MPI, slowly",
                    chosen, ranks, world.size(), *without.begin(),
                    without.size() > 1 ? fmt::format(", and {} more", counted(without.size() - 1, "host")) : ""));
  if (versions.size() > 1)
    throw Error(ExitCode::hardware, fmt::format("run.communication {}: the ranks find NCCL {}; they need one version, as "
                                                "LD_LIBRARY_PATH may say",
                                                chosen, fmt::join(versions, " and ")));
  chosen = ranks == 0 ? "nccl" : "host";
  if (ranks > 0) return fmt::format("host memory and MPI, slowly: {}", mine);
  // Groups that overlap are enqueued in one order on all ranks; NCCL is to start them on the GPU in that order too, or two of them that
  // do not fit beside each other could wait for each other.
  setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
  if (config.run.ranks_per_gpu == 1) return "NCCL " + version;
  // NCCL refuses two ranks of one host on one GPU: each is a host of its own to it.
  setenv("NCCL_HOSTID", fmt::format("{}-rank-{}", host_name(), world.rank()).c_str(), 1);
  return "NCCL " + version + " through the network stack, because ranks share GPUs (run.ranks_per_gpu)";
}

}  // namespace

DeviceType device_type(const Config& config) { return config.run.device == "cuda" ? DeviceType::cuda : DeviceType::cpu; }

bool may_use_gpu(const Config& config) { return config.run.device != "cpu" && cuda::linked() && cuda::device_count() > 0; }

DeviceChoice choose_device(Config& config, const LauncherView& view, Communicator& world) {
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
  DeviceChoice choice{.device = {DeviceType::cuda, gpu_of(config, view)}, .lines = {}};
  const std::vector<RankGpu> gpus = gather_gpus(world, choice.device.index);
  if (const std::string crowded = crowded_gpu(gpus, config.run.ranks_per_gpu); !crowded.empty())
    throw Error(ExitCode::hardware, crowded);
  require_device_memory(at_sequence(config, longest_sequence(config)), Mesh(config.parallel), choice.device);
  choice.lines = gpu_map(gpus);
  if (world.size() > 1) choice.lines.push_back("comm    " + choose_communication(config, world));
  return choice;
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
