// A training step as data. `make_schedule` writes what each pipeline rank computes, in order, by stage and micro-batch; `lower` expands
// it to units (embedding, each block, head) and inserts transfers, gathers and reductions; `verify` proves the result legal and free of
// deadlock; one executor runs it. (1F1B: Narayanan et al. 2021, figure 4; the programme as a printable list: Qi et al. 2023.)
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace drover {

enum class Op : uint8_t {
  forward,
  recompute,
  backward,
  backward_input,
  backward_weight,
  send_act,
  recv_act,
  send_grad,
  recv_grad,
  gather,
  release,
  reduce_replicated,
  reduce_grads
};
const char* name_of(Op op);

struct Action {
  Op op;
  int16_t stage, microbatch, unit;  // unit: within the stage; -1: all of the stage's (before lowering), or none (transfers).
                                    // microbatch: -1 for actions of the whole step
  bool operator==(const Action&) const = default;
};
using Program = std::vector<Action>;  // what one pipeline rank executes, in order

enum class ScheduleKind : uint8_t { one_f_one_b, forward_only };  // forward_only: validation

struct PipelineShape {
  int stages = 1;  // one a pipeline rank
  int microbatches = 1;
  std::vector<int> units;  // units executed by each stage, in order of execution; size() == stages
};

struct LowerOptions {
  // recompute[stage][unit]: that unit keeps its input only; a `recompute` of it is inserted before its backward
  std::vector<std::vector<bool>> recompute;
  // replicated[stage]: parameter-store units of the stage whose gradients other groups hold parts of (reduce_replicated)
  std::vector<std::vector<int>> replicated;
  // reduced[stage]: parameter-store units of the stage (reduce_grads), by index
  std::vector<std::vector<int>> reduced;
};

std::vector<Program> make_schedule(ScheduleKind kind, const PipelineShape& shape);

// Transfers are placed in one global order: the schedule is simulated once, and each send and its matching receive are appended to both
// ranks at the same moment, so in-order rendezvous channels cannot deadlock.
std::vector<Program> lower(const std::vector<Program>& schedule, const PipelineShape& shape, const LowerOptions& options);

// Everything wrong with lowered programs, in words; empty: legal (every compute action exactly once, after its inputs arrived, the
// backward after its forward, every reduction once and after the last backward of its unit) and free of deadlock over in-order
// rendezvous channels, one for each ordered pair of neighbours.
std::vector<std::string> verify(const std::vector<Program>& programs, const PipelineShape& shape, const LowerOptions& options);

bool computes(Op op);                         // forward, recompute, and the backwards; not what moves or reduces tensors
std::string to_string(const Action& action);  // "F 0.3/u2": forward, stage 0, micro-batch 3, unit 2
std::string draw(const std::vector<Program>& schedule, const PipelineShape& shape);  // one text row a rank, one column a time slot
double bubble_fraction(const std::vector<Program>& schedule, const PipelineShape& shape);  // idle share, forward = 1, backward = 2
int peak_in_flight(const Program& program);  // most micro-batches between forward and backward at once

}  // namespace drover
