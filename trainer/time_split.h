// Where one rank's time goes. Every moment belongs to one part: the caller says after each stretch of the loop what it was, and a
// training step is divided by the ops' and communicators' own clocks.
#pragma once
#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "kernels/stream.h"
#include "parallel/world.h"

namespace drover {

class TimeSplit {
 public:
  enum class Part : uint8_t { start, data, validation, checkpoint, other };

  TimeSplit(Stream& stream, const Groups& groups) : stream_(stream), groups_(groups) { mark(); }
  void step();           // the time since the last call was a training step; what no op and no communicator counted is `other`
  void pass(Part part);  // the time since the last call was this
  // Seconds by name since the last take(): the kinds of op, "communication", "start", "data", "validation", "checkpoint", "other".
  std::vector<std::pair<std::string, double>> take();

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kOps = static_cast<size_t>(OpKind::count), kParts = 5;
  double mark();  // seconds since the last one
  std::array<double, kOps + 1> counted() const;

  Stream& stream_;
  Groups groups_;
  Clock::time_point last_ = Clock::now();
  std::array<double, kOps + 1> before_{};   // the clocks at the last mark; the last one is communication
  std::array<double, kOps + 1> counted_{};  // since the last take()
  std::array<double, kParts> parts_{};
};

}  // namespace drover
