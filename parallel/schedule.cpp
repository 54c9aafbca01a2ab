#include "parallel/schedule.h"

#include <algorithm>
#include <array>

#include "kernels/base/error.h"
#include "parallel/schedule_clock.h"

namespace drover {

const char* name_of(Op op) {
  static constexpr std::array<const char*, 13> kNames = {"F",        "recompute",         "B",           "B input",   "B weight",
                                                         "send_act", "recv_act",          "send_grad",   "recv_grad", "gather",
                                                         "release",  "reduce_replicated", "reduce_grads"};
  return kNames.at(static_cast<size_t>(op));
}

bool computes(Op op) {
  return op == Op::forward || op == Op::recompute || op == Op::backward || op == Op::backward_input || op == Op::backward_weight;
}

std::string to_string(const Action& action) {
  std::string text = std::string(name_of(action.op)) + " " + std::to_string(action.stage);
  if (action.microbatch >= 0) text += "." + std::to_string(action.microbatch);
  if (action.unit >= 0) text += "/u" + std::to_string(action.unit);
  return text;
}

std::vector<Program> make_schedule(ScheduleKind kind, const PipelineShape& shape) {
  DROVER_CHECK(shape.stages <= INT16_MAX && shape.microbatches <= INT16_MAX, "an Action holds 16-bit numbers");
  std::vector<Program> schedule(static_cast<size_t>(shape.stages));
  for (int stage = 0; stage < shape.stages; ++stage) {
    Program& program = schedule[static_cast<size_t>(stage)];
    const auto add = [&](Op op, int m) { program.push_back({op, static_cast<int16_t>(stage), static_cast<int16_t>(m), -1}); };
    const int warmup =
        kind == ScheduleKind::forward_only ? shape.microbatches : std::min(shape.stages - 1 - stage, shape.microbatches);
    for (int m = 0; m < warmup; ++m) add(Op::forward, m);
    if (kind == ScheduleKind::forward_only) continue;
    for (int m = warmup; m < shape.microbatches; ++m) {
      add(Op::forward, m);
      add(Op::backward, m - warmup);
    }
    for (int m = shape.microbatches - warmup; m < shape.microbatches; ++m) add(Op::backward, m);
  }
  return schedule;
}

std::string draw(const std::vector<Program>& schedule, const PipelineShape& shape) {
  constexpr int kColumns = 33;
  std::vector<std::vector<std::string>> rows(static_cast<size_t>(shape.stages), std::vector<std::string>(kColumns, "."));
  const int slots = run_clock(
      schedule, shape,
      [&](const Action& action, int begin, int end) {
        for (int slot = begin; slot < std::min(end, kColumns); ++slot)
          rows[static_cast<size_t>(action.stage)][static_cast<size_t>(slot)] =
              name_of(action.op) + std::to_string(action.microbatch);
      },
      [](const Action&) {});
  const int shown = slots > kColumns ? kColumns - 1 : slots;  // one slot alone is as wide as its mention
  std::string text;
  for (int stage = 0; stage < shape.stages; ++stage) {
    text += "stage " + std::to_string(stage) + (stage < 10 ? " " : "") + " |";
    for (int slot = 0; slot < shown; ++slot) {
      std::string cell = rows[static_cast<size_t>(stage)][static_cast<size_t>(slot)];
      cell.resize(std::max<size_t>(cell.size(), 4), ' ');
      text += cell;
    }
    text += slots > shown ? "... " + std::to_string(slots - shown) + " more slots\n" : "\n";
  }
  return text;
}

double bubble_fraction(const std::vector<Program>& schedule, const PipelineShape& shape) {
  int64_t busy = 0;
  const int slots = run_clock(
      schedule, shape, [&](const Action&, int begin, int end) { busy += end - begin; }, [](const Action&) {});
  return slots == 0 ? 0 : 1.0 - static_cast<double>(busy) / (static_cast<double>(slots) * shape.stages);
}

int peak_in_flight(const Program& program) {
  std::vector<bool> open;
  int now = 0, peak = 0;
  std::vector<int> backwards_left;
  for (const Action& action : program) {
    if (action.microbatch < 0) continue;
    const size_t m = static_cast<size_t>(action.microbatch);
    if (open.size() <= m) open.resize(m + 1, false), backwards_left.resize(m + 1, 0);
    if (action.op == Op::backward) ++backwards_left[m];
  }
  for (const Action& action : program) {
    if (action.microbatch < 0) continue;
    const size_t m = static_cast<size_t>(action.microbatch);
    if (action.op == Op::forward && !open[m]) {
      open[m] = true;
      peak = std::max(peak, ++now);
    }
    if (action.op == Op::backward && --backwards_left[m] == 0) --now;
  }
  return peak;
}

}  // namespace drover
