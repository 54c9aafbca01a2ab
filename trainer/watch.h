// Ends a run that lost a rank which MPI does not miss (parallel/heartbeat.h), or whose GPUs cannot talk any more (parallel/group_watch.h): every
// survivor ends with exit code 6, and one message names the lost rank and its host, or the communicator, and the step.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "configs/config.h"
#include "parallel/heartbeat.h"
#include "parallel/world.h"
#include "trainer/history.h"

namespace drover {

class Watch {
 public:
  // Collective. Watches nothing in a world of one, with run.heartbeat_seconds 0, or where ranks cannot reach each other: see warning().
  Watch(World& world, const RunConfig& run, History& history);
  const std::string& warning() const { return warning_; }
  // Does not return once a communicator failed: what the GPU gave may be anything.
  void after_step(int64_t step);
  // Says that a communicator failed, for GroupWatch. Any thread.
  void communicator_failed(const std::string& what);

 private:
  [[noreturn]] void end_run(const LostPeer& lost);
  void say(const std::string& text, bool recorded) const;
  void record(const std::string& text) const;

  int rank_, ranks_;
  RunConfig run_;
  History& history_;
  std::atomic<int64_t> step_ = 0;
  std::atomic<bool> ending_ = false;
  std::string warning_;
  std::optional<Heartbeat> heartbeat_;  // last: its thread uses the others
};

}  // namespace drover
