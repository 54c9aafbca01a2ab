// When a GPU comes to what its streams queue: pairs of events, read once the GPU is done with them. The host's clock would tell how long
// queueing takes.
#pragma once
#include <memory>
#include <vector>

#include "kernels/base/timed.h"
#include "kernels/cuda/device.h"

namespace drover {

class GpuClock : public OtherClock {
 public:
  GpuClock() = default;
  ~GpuClock() override;
  GpuClock(const GpuClock&) = delete;
  GpuClock& operator=(const GpuClock&) = delete;

  // The time of what `stream` queues from here to stop() will be added to `seconds`, which must outlive collect(). Throws Error(internal)
  // inside another such span.
  void start(cuda::StreamHandle stream, double& seconds);
  void stop() override;
  void collect();  // waits for the GPU, and adds the spans since the last call

 private:
  struct Span {
    cuda::EventHandle begin, end;
    cuda::StreamHandle stream = nullptr;
    double* seconds = nullptr;
  };
  std::vector<Span> spans_;  // their events are used again
  size_t used_ = 0;
  bool started_ = false;
};

}  // namespace drover
