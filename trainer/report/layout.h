// Pictures of a layout, from the configuration alone: which rank stands where in the mesh, what each pipeline stage does when, what memory
// each stage plans.
#pragma once
#include <string>

#include "configs/config.h"
#include "parallel/mesh.h"

namespace drover::report {

std::string mesh_table(const Mesh& mesh);
std::string schedule_picture(const Config& config, const Mesh& mesh);
std::string memory_of_stages(const Config& config, const Mesh& mesh);

}  // namespace drover::report
