// Runs one pipeline rank's program, action by action: the only step loop there is.
#pragma once
#include <functional>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/world.h"
#include "trainer/buffer_plan.h"
#include "trainer/communicator_apart.h"
#include "trainer/recordings.h"
#include "trainer/stage.h"
#include "trainer/streams.h"

namespace drover {

class Executor {
 public:
  using Sink = std::function<void(const Action&)>;

  // `in_flight`: a batch for each of the stage's activation buffers, on a GPU, for computation by CUDA graphs; empty: without. A micro-batch is
  // copied there when it begins, so that the graphs, which know addresses only, are as many as micro-batches in flight and not as those of a step.
  Executor(Streams& streams, const Groups& groups, Stage& stage, ParamStore& store, std::vector<Batch> in_flight);

  // batches[m] is micro-batch m. `gradient`: the program has backward actions, so the head makes gradients with its loss.
  void run(const Program& program, const BufferPlan& buffers, const std::vector<Batch>& batches, bool gradient);

  void log_actions(Sink sink) { sink_ = std::move(sink); }

 private:
  bool is_idle(const Action& action) const;  // nothing is to be reduced
  void compute(Stream& stream, const Action& action, const Placement& place, const Batch& batch, bool gradient,
               const std::vector<Access>& accesses);
  void execute(Stream& stream, const Action& action, const Placement& place, const Batch* batch, bool gradient);

  Streams& streams_;
  std::vector<Batch> in_flight_;
  Recordings recordings_;
  CommunicatorApart tp_apart_;
  Groups groups_;
  Stage& stage_;
  ParamStore& store_;
  Sink sink_;
};

}  // namespace drover
