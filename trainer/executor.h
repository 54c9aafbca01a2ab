// Runs one pipeline rank's program, action by action: the only step loop there is.
#pragma once
#include <functional>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/world.h"
#include "trainer/buffer_plan.h"
#include "trainer/stage.h"
#include "trainer/streams.h"

namespace drover {

class Executor {
 public:
  using Sink = std::function<void(const Action&)>;

  Executor(Streams& streams, const Groups& groups, Stage& stage, ParamStore& store)
      : streams_(streams), groups_(groups), stage_(stage), store_(store) {}

  // batches[m] is micro-batch m. `gradient`: the program has backward actions, so the head makes gradients with its loss.
  void run(const Program& program, const BufferPlan& buffers, const std::vector<Batch>& batches, bool gradient);

  void log_actions(Sink sink) { sink_ = std::move(sink); }

 private:
  void execute(Stream& stream, const Action& action, const Placement& place, const Batch* batch, bool gradient);

  Streams& streams_;
  Groups groups_;
  Stage& stage_;
  ParamStore& store_;
  Sink sink_;
};

}  // namespace drover
