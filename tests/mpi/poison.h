// Fills with NaN, before each action of a step, what no later action may read: the workspace, which lives within an action; the activations of
// micro-batches that have not begun or are done; what was recomputed. On the compute stream, which alone works on these.
#pragma once
#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "parallel/schedule.h"
#include "trainer/buffer_plan.h"
#include "trainer/engine.h"

namespace drover::testing {

class Poison {
 public:
  // `program`: what this rank executes each step, with buffers as planned.
  Poison(Engine& engine, const Program& program, const BufferPlan& buffers) : engine_(engine), program_(program) {
    const std::vector<Arena::Entry>& entries = engine.memory().entries();
    slots_.resize(static_cast<size_t>(buffers.activations));
    for (size_t i = 0; i < entries.size(); ++i) {
      const Arena::Entry& entry = entries[i];
      const bool kept = entry.name.starts_with("rope ") || entry.name == "step sums" || entry.name == "uncounted sums";
      if (entry.category == "workspace" && !kept) workspace_.push_back(engine.memory().memory_of(i));
      if (entry.category != "activations") continue;
      if (entry.name.starts_with("recomputed")) recomputed_.push_back(engine.memory().memory_of(i));
      for (size_t slot = 0; slot < slots_.size(); ++slot)
        if (entry.name.starts_with("in flight " + std::to_string(slot) + " "))
          slots_[slot].memory.push_back(engine.memory().memory_of(i));
    }
    for (size_t i = 0; i < program_.size(); ++i)
      if (computes(program_[i].op)) {
        Slot& slot = slots_.at(static_cast<size_t>(buffers.activation.at(static_cast<size_t>(program_[i].microbatch))));
        slot.users.resize(program_.size(), -1);
        slot.users[i] = program_[i].microbatch;
      }
  }

  void before_next_action() {
    const Action& action = program_[next_];
    if (computes(action.op)) {
      if (action.op != Op::backward_weight) fill(workspace_);
      if (action.op == Op::forward || action.op == Op::recompute) fill(recomputed_);
      for (const Slot& slot : slots_)
        if (free(slot)) fill(slot.memory);
    }
    next_ = (next_ + 1) % program_.size();
  }

 private:
  struct Slot {
    std::vector<TensorView> memory;
    std::vector<int> users;  // by action: the micro-batch that it computes with the slot's buffers; -1: none
  };

  // No micro-batch has begun in the slot before the next action and goes on with it or after it.
  bool free(const Slot& slot) const {
    for (size_t before = 0; before < next_; ++before)
      for (size_t after = next_; slot.users[before] >= 0 && after < slot.users.size(); ++after)
        if (slot.users[after] == slot.users[before]) return false;
    return true;
  }
  void fill(const std::vector<TensorView>& memory) {
    for (const TensorView& part : memory)
      cudaMemsetAsync(part.data, 0xff, static_cast<size_t>(part.bytes()), engine_.stream().gpu());
  }

  Engine& engine_;
  Program program_;
  std::vector<TensorView> workspace_, recomputed_;
  std::vector<Slot> slots_;
  size_t next_ = 0;
};

}  // namespace drover::testing
