#include "trainer/executor.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/range.h"

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

// The batch stands in a buffer of the micro-batch's activations, and so is no part of the key; of weight gradients it matters who makes them.
Recordings::Key key_of(const Action& action, const Placement& place, bool gradient, const std::vector<Access>& accesses) {
  const auto is = [](Resource::Kind kind) { return [kind](const Access& access) { return access.resource.kind == kind; }; };
  const bool makes = std::any_of(accesses.begin(), accesses.end(), is(Resource::Kind::weight_gradients));
  Recordings::Key key{action.op, action.unit, place.activation, accesses, makes && place.first, makes && gradient};
  std::erase_if(key.accesses, is(Resource::Kind::batch));
  return key;
}

Groups with_tp(const Groups& groups, Communicator& tp) {
  return {groups.world, tp, groups.pp, groups.shard, groups.replicate, groups.tied};
}

}  // namespace

Executor::Executor(Streams& streams, const Groups& groups, Stage& stage, ParamStore& store, std::vector<Batch> in_flight)
    : streams_(streams), in_flight_(std::move(in_flight)), tp_apart_(groups.tp, recordings_),
      groups_(in_flight_.empty() || groups.tp.size() == 1 ? groups : with_tp(groups, tp_apart_)), stage_(stage), store_(store) {}

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
    const Range range(streams_.compute(), to_string(action));
    if (is_idle(action)) continue;
    const Purpose purpose = purpose_of(action.op);
    const std::vector<Access> accesses = stage_.accesses(action, place);
    const bool by_graphs = purpose == Purpose::compute && !in_flight_.empty();
    streams_.run(purpose, accesses, [&](Stream& stream) {
      if (by_graphs)
        compute(stream, action, place, *batch, gradient, accesses);
      else
        execute(stream, action, place, batch, gradient);
    });
  }
}

bool Executor::is_idle(const Action& action) const {
  return (action.op == Op::reduce_replicated && !store_.reduces_replicated(groups_, action.unit)) ||
         (action.op == Op::reduce_grads && !store_.reduces_gradients(groups_));
}

void Executor::compute(Stream& stream, const Action& action, const Placement& place, const Batch& batch, bool gradient,
                       const std::vector<Access>& accesses) {
  const Batch& mine = in_flight_.at(static_cast<size_t>(place.activation));
  if (action.op == Op::forward && action.unit == 0)
    for (const auto member : {&Batch::token, &Batch::target, &Batch::position, &Batch::document_begin, &Batch::weight})
      copy(stream, mine.*member, batch.*member);
  recordings_.run(key_of(action, place, gradient, accesses), stream,
                  [&](Stream& on) { execute(on, action, place, &mine, gradient); });
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
