// What a run has before its first step, and keeps where a phase of another sequence begins.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "trainer/checkpoint/store.h"
#include "trainer/device.h"
#include "trainer/history.h"
#include "trainer/preflight.h"
#include "trainer/signals.h"
#include "trainer/watch.h"

namespace drover {

struct Begun {
  const TrainRequest& request;
  Prepared prepared;
  DeviceChoice choice;
  World& world;
  Watch& watch;
  const StopSignals& signals;
  History& history;
  CheckpointStore store;
  std::optional<CheckpointInfo> checkpoint;  // to go on from
  std::vector<std::string> found;            // what the search for it said
  int64_t first_step = -1;                   // of this process
  std::chrono::steady_clock::time_point begin = {};

  const SampleOrder& order() const { return prepared.train->order(); }
  int64_t sequence() const { return order().sequence_at(order().nth(checkpoint ? checkpoint->state.samples_consumed : 0, 0)); }
  RunState state() const;  // of step 0: what a checkpoint says of the run itself
};

Loader::Options loader_options(const Config& config, const Mesh& mesh, int rank, const std::vector<LossWeight>& loss_weights,
                               bool shuffle);

}  // namespace drover
