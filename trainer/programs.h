// The programs of a run, from its configuration: schedule, lowered to units, verified.
#pragma once
#include <vector>

#include "configs/config.h"
#include "parallel/mesh.h"
#include "parallel/schedule.h"

namespace drover {

PipelineShape pipeline_shape(const Config& config, const Mesh& mesh);
LowerOptions lower_options(const Config& config, const Mesh& mesh);
std::vector<Program> training_schedule(const Config& config, const Mesh& mesh);  // by stage, not lowered yet

struct Programs {
  std::vector<Program> train, validate;  // by pipeline rank
};

// Throws Error(internal) with verify's words if a program is not legal.
Programs make_programs(const Config& config, const Mesh& mesh);

}  // namespace drover
