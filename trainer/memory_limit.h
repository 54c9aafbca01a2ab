// Whether a run fits the memory of what it runs on, known before it starts: not at step 5,000.
#pragma once
#include <string>
#include <vector>

#include "configs/config.h"
#include "kernels/view.h"
#include "parallel/mesh.h"

namespace drover {

// What a rank's GPU holds beside the planned tensors, in bytes: the context and the libraries' modules, CUDA graphs, and buffers of each of
// NCCL's groups that the layout has. An estimate; a run prints what it was.
int64_t bytes_outside_arenas(const Config& config, const Mesh& mesh);

struct Fit {
  std::string settings;  // "train.recompute=block train.micro_batch=2"
  int64_t bytes = 0;     // that the worst rank then needs
};
// The changes nearest to a configuration, for as many ranks, with which its worst rank needs at most `limit` bytes: recompute, a smaller
// micro-batch, another layout, each alone where that is enough. Empty: none of them is.
std::vector<Fit> settings_that_fit(const Config& config, int64_t ranks, int64_t limit);

// Throw Error(memory), with what would fit, when as many ranks of the worst kind need more than the host has available, or one of them more
// than is free on its GPU or run.device_memory allows.
void require_memory(const Config& config, const Mesh& mesh, int local_ranks);
void require_device_memory(const Config& config, const Mesh& mesh, Device device);
void require_allowed_memory(const Config& config, const Mesh& mesh);  // of run.device_memory alone, with no GPU at hand

}  // namespace drover
