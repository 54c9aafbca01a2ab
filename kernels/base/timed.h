// Adds the time from its construction to its end to a sum of seconds, or tells another clock of the end.
#pragma once
#include <chrono>

namespace drover {

class OtherClock {
 public:
  virtual ~OtherClock() = default;
  virtual void stop() = 0;
};

class Timed {
 public:
  // `clock`: it keeps the time, and `seconds` stays as it is.
  explicit Timed(double& seconds, OtherClock* clock = nullptr)
      : seconds_(seconds), clock_(clock), begin_(std::chrono::steady_clock::now()) {}
  ~Timed() {
    if (clock_ != nullptr)
      clock_->stop();
    else
      seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double& seconds_;
  OtherClock* clock_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace drover
