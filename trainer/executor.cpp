#include "trainer/executor.h"

namespace drover {

void Executor::run(const Program& program, const BufferPlan& buffers, const std::vector<Batch>& batches, bool gradient) {
  for (const Action& action : program) {
    if (sink_) sink_(action);
    Placement place;
    const Batch* batch = nullptr;
    if (action.microbatch >= 0) {
      const size_t m = static_cast<size_t>(action.microbatch);
      place = {buffers.activation.at(m), buffers.input.at(m), buffers.gradient.at(m), buffers.output.at(m),
               action.unit >= 0 && action.microbatch == buffers.first.at(static_cast<size_t>(action.unit))};
      batch = &batches.at(m);
    }
    execute(action, place, batch, gradient);
  }
}

void Executor::execute(const Action& action, const Placement& place, const Batch* batch, bool gradient) {
  const int unit = action.unit, stage = groups_.pp.rank();
  switch (action.op) {
    case Op::forward: return stage_.forward(stream_, groups_, unit, place, *batch, gradient);
    case Op::recompute: return stage_.recompute(stream_, groups_, unit, place, *batch);
    case Op::backward:
      stage_.backward_input(stream_, groups_, unit, place, *batch);
      return stage_.backward_weight(stream_, groups_, unit, place);
    case Op::backward_input: return stage_.backward_input(stream_, groups_, unit, place, *batch);
    case Op::backward_weight: return stage_.backward_weight(stream_, groups_, unit, place);
    case Op::send_act: return groups_.pp.send(stream_, stage_.output(place), stage + 1);
    case Op::recv_act: return groups_.pp.recv(stream_, stage_.input(place), stage - 1);
    case Op::send_grad: return groups_.pp.send(stream_, stage_.gradient(place), stage - 1);
    case Op::recv_grad: return groups_.pp.recv(stream_, stage_.gradient(place), stage + 1);
    case Op::reduce_replicated: return store_.reduce_replicated(stream_, groups_, unit);
    case Op::reduce_grads: return store_.reduce_gradients(stream_, groups_, unit);
    case Op::gather:
    case Op::release: break;  // whole weights live on every rank up to ZeRO-1; no program of today's has these
  }
  DROVER_CHECK(false, "no such action for this store: " + to_string(action));
}

}  // namespace drover
