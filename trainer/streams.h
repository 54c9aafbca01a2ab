// The streams of one rank's step, one a purpose, kept in order by what each piece of work reads and writes (trainer/dependencies.h). So
// reductions, transfers and copies overlap with computation wherever no data stands between them, and no caller places an event.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "kernels/stream.h"
#include "trainer/dependencies.h"

namespace drover {

class Streams {
 public:
  explicit Streams(Device device);

  Stream& compute() { return compute_; }

  // Calls work(stream), which enqueues on the purpose's stream, behind what the accesses depend on. On the cpu, where all work is done before
  // the call returns, all purposes share one stream.
  template <class Work> void run(Purpose purpose, const std::vector<Access>& accesses, Work&& work) {
    if (compute_.device().type == DeviceType::cpu) return work(compute_);
    Stream& stream = begin(purpose, accesses);
    work(stream);
    end(purpose);
  }

  // The host has waited for the purpose's stream.
  void settled(Purpose purpose) { dependencies_.settled(purpose); }

 private:
  Stream& begin(Purpose purpose, const std::vector<Access>& accesses);
  void end(Purpose purpose);
  Stream& stream(Purpose purpose);
  Event& event(Purpose purpose, int64_t tick);

  Stream compute_;
  std::vector<std::unique_ptr<Stream>> others_;  // by purpose, without compute
  Dependencies dependencies_;
  std::array<std::array<Event, Dependencies::kRing>, kPurposes> events_;
};

}  // namespace drover
