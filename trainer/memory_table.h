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

// `outside`: what a GPU holds beside them (bytes_outside_arenas), 0 on the cpu.
std::string memory_table(const Arena& memory, int64_t outside, const std::string& title);
std::string batch_arithmetic(const Config& config, const Mesh& mesh);  // mesh, model size and batch, in words

}  // namespace drover
