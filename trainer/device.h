// Which device a run's ranks compute on.
#pragma once
#include <string>
#include <vector>

#include "configs/config.h"
#include "kernels/view.h"
#include "parallel/world.h"

namespace drover {

// Of run.device; auto, as long as nobody has decided, is the cpu.
DeviceType device_type(const Config& config);

// Whether run.device allows GPUs and this rank sees one.
bool may_use_gpu(const Config& config);

struct DeviceChoice {
  Device device;
  std::vector<std::string> lines;  // where the ranks' GPUs are and how they are connected, to be said once; none on cpu ranks
};

// This rank's device: the ranks of a host take its GPUs in order, run.ranks_per_gpu each; a rank that sees one GPU takes that (Slurm's
// --gpus-per-task). Decides `auto` of run.device and run.communication for all ranks alike: GPUs where every rank has one, the cpu where none
// has; NCCL where it is found and no GPU is shared. Collective; comes before NCCL and before other threads, because it may set NCCL_HOSTID.
// Throws Error(hardware) when GPUs are asked for or seen by some ranks only, when more ranks than run.ranks_per_gpu have the same one, or
// when NCCL is asked for or found by some ranks only, and Error(memory) where the plan does not fit the GPU.
DeviceChoice choose_device(Config& config, const LauncherView& view, Communicator& world);

// What bits depend on beside the build: "oneDNN 2.6.3, avx2", or "NVIDIA H100 80GB HBM3, cuBLASLt 13.1.0, cuDNN 9.19.0".
std::string arithmetic_of(Device device);
// "2 threads a rank, oneDNN 2.6.3, avx2"; a GPU's as above.
std::string describe(Device device, int64_t threads);

}  // namespace drover
