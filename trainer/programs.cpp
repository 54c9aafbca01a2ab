#include "trainer/programs.h"

#include "trainer/model/units.h"

namespace drover {
namespace {

int rank_of_stage(const Mesh& mesh, int stage) { return mesh.rank_of({0, 0, stage, 0, 0}); }

std::vector<Program> lowered(const std::vector<Program>& schedule, const PipelineShape& shape, const LowerOptions& options) {
  std::vector<Program> programs = lower(schedule, shape, options);
  const std::vector<std::string> problems = verify(programs, shape, options);
  DROVER_CHECK(problems.empty(), "illegal program: " + problems.front());
  return programs;
}

}  // namespace

PipelineShape pipeline_shape(const Config& config, const Mesh& mesh) {
  PipelineShape shape;
  shape.stages = mesh.size(Axis::pp);
  shape.microbatches = static_cast<int>(microbatches(config));
  for (int stage = 0; stage < shape.stages; ++stage)
    shape.units.push_back(stage_units(config, mesh, rank_of_stage(mesh, stage)).executed);
  return shape;
}

LowerOptions lower_options(const Config& config, const Mesh& mesh) {
  LowerOptions options;
  for (int stage = 0; stage < mesh.size(Axis::pp); ++stage) {
    const StageUnits units = stage_units(config, mesh, rank_of_stage(mesh, stage));
    std::vector<bool> recompute;
    for (int unit = 0; unit < units.executed; ++unit) {
      const bool block = !(units.first && unit == 0) && !(units.last && unit == units.executed - 1);
      recompute.push_back(block && config.train.recompute == Recompute::block);
    }
    std::vector<int> replicated, reduced;
    for (int unit = 0; unit < static_cast<int>(units.units.size()); ++unit) {
      reduced.push_back(unit);
      const Unit& u = units.units[static_cast<size_t>(unit)];
      if (u.replicated > 0 || u.tied) replicated.push_back(unit);
    }
    options.recompute.push_back(std::move(recompute));
    options.replicated.push_back(std::move(replicated));
    options.reduced.push_back(std::move(reduced));
  }
  return options;
}

std::vector<Program> training_schedule(const Config& config, const Mesh& mesh) {
  return make_schedule(ScheduleKind::one_f_one_b, pipeline_shape(config, mesh));
}

Programs make_programs(const Config& config, const Mesh& mesh) {
  const PipelineShape shape = pipeline_shape(config, mesh);
  LowerOptions forward_only;
  forward_only.recompute.resize(static_cast<size_t>(shape.stages));
  for (int stage = 0; stage < shape.stages; ++stage)
    forward_only.recompute[static_cast<size_t>(stage)].resize(static_cast<size_t>(shape.units[static_cast<size_t>(stage)]), false);
  forward_only.replicated.resize(static_cast<size_t>(shape.stages));
  forward_only.reduced.resize(static_cast<size_t>(shape.stages));
  return {lowered(training_schedule(config, mesh), shape, lower_options(config, mesh)),
          lowered(make_schedule(ScheduleKind::forward_only, shape), shape, forward_only)};
}

}  // namespace drover
