// What a run used beside what was planned: the plan is not its own witness.
#pragma once
#include <cstdint>
#include <string>

#include "configs/config.h"
#include "kernels/view.h"
#include "parallel/communicator.h"
#include "parallel/mesh.h"

namespace drover {

// A line about the rank with the largest excess. Collective. `planned`: bytes of this rank's tensors; `resident_before`: of its process, before
// they were there.
std::string memory_report(Communicator& world, const Config& config, const Mesh& mesh, Device device, int64_t planned,
                          int64_t resident_before);

}  // namespace drover
