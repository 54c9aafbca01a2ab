// Which rank is on which GPU of which host: for the line at the start of a run, and to refuse what NCCL would refuse less clearly.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace drover {

struct RankGpu {
  std::string host;     // its name
  std::string machine;  // its boot id: two hosts may have the same name
  std::string bus_id;   // of PCI, "0000:3b:00.0"
  int numa_node = -1;   // of the GPU; -1: the kernel does not say
};

// Of all ranks, by rank; `device` is this rank's. Collective.
std::vector<RankGpu> gather_gpus(Communicator& world, int device);

// A GPU that more than `ranks_per_gpu` ranks have, what is wrong and the remedy; "" where there is none.
std::string crowded_gpu(const std::vector<RankGpu>& gpus, int64_t ranks_per_gpu);

// "gpus    node01 (ranks 0 to 7): NUMA node 0: 0000:18:00.0, 0000:2a:00.0; NUMA node 1: ...", GPUs in the order of ranks; one line for all hosts that
// are alike.
std::vector<std::string> gpu_map(const std::vector<RankGpu>& gpus);

}  // namespace drover
