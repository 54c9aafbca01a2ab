// What the CUDA graphs of a rank's forward and backward passes (run.cuda_graphs) hold on its GPU. An estimate, as the rest of what lies outside
// the planned tensors: the driver's part is 64 KiB a kernel, as measured with CUDA 11 by others
// (forums.developer.nvidia.com, "Increasing memory footprint with large task graphs").
#pragma once
#include "configs/config.h"
#include "parallel/mesh.h"

namespace drover {

// Kernels and copies in them at most, on the rank with most; 0 without graphs.
int64_t graph_nodes(const Config& config, const Mesh& mesh);
int64_t graph_bytes(const Config& config, const Mesh& mesh);

}  // namespace drover
