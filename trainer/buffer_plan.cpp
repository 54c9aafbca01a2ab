#include "trainer/buffer_plan.h"

#include <algorithm>
#include <functional>

namespace drover {
namespace {

using Uses = std::function<bool(const Action&)>;

// Gives each micro-batch the lowest free buffer from its first to its last action that `uses` it; returns how many buffers that takes.
int assign(const Program& program, int microbatches, std::vector<int>& buffer, const Uses& uses) {
  buffer.assign(static_cast<size_t>(microbatches), -1);
  std::vector<size_t> last(static_cast<size_t>(microbatches), 0);
  for (size_t i = 0; i < program.size(); ++i)
    if (program[i].microbatch >= 0 && uses(program[i])) last[static_cast<size_t>(program[i].microbatch)] = i;
  std::vector<bool> taken;
  for (size_t i = 0; i < program.size(); ++i) {
    if (program[i].microbatch < 0 || !uses(program[i])) continue;
    int& mine = buffer[static_cast<size_t>(program[i].microbatch)];
    if (mine < 0) {
      const auto free = std::find(taken.begin(), taken.end(), false);
      mine = static_cast<int>(free - taken.begin());
      if (free == taken.end())
        taken.push_back(true);
      else
        *free = true;
    }
    if (last[static_cast<size_t>(program[i].microbatch)] == i) taken[static_cast<size_t>(mine)] = false;
  }
  return static_cast<int>(taken.size());
}

bool is_backward(Op op) { return op == Op::backward || op == Op::backward_input || op == Op::backward_weight; }

}  // namespace

BufferPlan plan_buffers(const Program& program, int microbatches, int units, bool first, bool last) {
  BufferPlan plan;
  plan.activations = assign(program, microbatches, plan.activation, [](const Action& action) { return computes(action.op); });
  plan.inputs = assign(program, microbatches, plan.input, [=](const Action& action) {
    return !first && (action.op == Op::recv_act || (computes(action.op) && action.unit == 0));
  });
  plan.gradients = assign(program, microbatches, plan.gradient, [](const Action& action) {
    return action.op == Op::recv_grad || action.op == Op::send_grad || is_backward(action.op);
  });
  plan.outputs = assign(program, microbatches, plan.output, [=](const Action& action) {
    return !last && (action.op == Op::send_act || (action.op == Op::forward && action.unit == units - 1));
  });
  plan.first.assign(static_cast<size_t>(units), -1);
  for (const Action& action : program) {
    const bool head = last && action.unit == units - 1;  // makes its weight's gradient with its loss
    const bool makes = head ? action.op == Op::forward : action.op == Op::backward || action.op == Op::backward_weight;
    if (makes && plan.first[static_cast<size_t>(action.unit)] < 0) plan.first[static_cast<size_t>(action.unit)] = action.microbatch;
  }
  return plan;
}

}  // namespace drover
