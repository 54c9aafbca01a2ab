// Ends a run that lost a rank which MPI does not miss (parallel/heartbeat.h): every survivor ends with exit code 6, and one message names
// the lost rank, its host and the step.
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
  void after_step(int64_t step) { step_ = step; }

 private:
  [[noreturn]] void end_run(const LostPeer& lost) const;
  void record(const std::string& text) const;

  int rank_;
  RunConfig run_;
  History& history_;
  std::atomic<int64_t> step_ = 0;
  std::string warning_;
  std::optional<Heartbeat> heartbeat_;  // last: its thread uses the others
};

}  // namespace drover
