#include "trainer/executor.h"

namespace drover {
namespace {

Purpose purpose_of(Op op) {
  switch (op) {
    case Op::send_act:
    case Op::recv_act:
    case Op::send_grad:
    case Op::recv_grad: return Purpose::transfers;
    case Op::reduce_replicated:
    case Op::reduce_grads: return Purpose::reductions;
    default: return Purpose::compute;
  }
}

}  // namespace

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
    streams_.run(purpose_of(action.op), stage_.accesses(action, place),
                 [&](Stream& stream) { execute(stream, action, place, batch, gradient); });
  }
}

void Executor::execute(Stream& stream, const Action& action, const Placement& place, const Batch* batch, bool gradient) {
  const int unit = action.unit, stage = groups_.pp.rank();
  switch (action.op) {
    case Op::forward: return stage_.forward(stream, groups_, unit, place, *batch, gradient);
    case Op::recompute: return stage_.recompute(stream, groups_, unit, place, *batch);
    case Op::backward:
      stage_.backward_input(stream, groups_, unit, place, *batch);
      return stage_.backward_weight(stream, groups_, unit, place);
    case Op::backward_input: return stage_.backward_input(stream, groups_, unit, place, *batch);
    case Op::backward_weight: return stage_.backward_weight(stream, groups_, unit, place);
    case Op::send_act: return groups_.pp.send(stream, stage_.output(place), stage + 1);
    case Op::recv_act: return groups_.pp.recv(stream, stage_.input(place), stage - 1);
    case Op::send_grad: return groups_.pp.send(stream, stage_.gradient(place), stage - 1);
    case Op::recv_grad: return groups_.pp.recv(stream, stage_.gradient(place), stage + 1);
    case Op::reduce_replicated: return store_.reduce_replicated(stream, groups_, unit);
    case Op::reduce_grads: return store_.reduce_gradients(stream, groups_, unit);
    case Op::gather:
    case Op::release: break;  // whole weights live on every rank up to ZeRO-1; no program of today's has these
  }
  DROVER_CHECK(false, "no such action for this store: " + to_string(action));
}

}  // namespace drover
