// The planned memory of one rank, as `train` and `plan` both print it.
#pragma once
#include <string>

#include "configs/config.h"
#include "kernels/arena.h"
#include "parallel/mesh.h"

namespace drover {

struct WorstRank {
  int rank = 0;
  Arena memory;
};

// The rank that needs most, by measuring one of each kind: every pipeline stage, first of its tensor- and data-parallel group.
WorstRank worst_rank(const Config& config, const Mesh& mesh);

// Throws Error(memory) when this many ranks of the worst kind need more than the host has available, or one of them more than its GPU:
// known now, not at step 5,000.
void require_memory(const Config& config, const Mesh& mesh, int local_ranks);
void require_device_memory(const Config& config, const Mesh& mesh, Device device);

std::string memory_table(const Arena& memory, const std::string& title);
std::string batch_arithmetic(const Config& config, const Mesh& mesh);  // mesh, model size and batch, in words

}  // namespace drover
