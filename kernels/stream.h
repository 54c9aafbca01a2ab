// Ordered work on one device. On the cpu every op runs inline, before the call returns, so an Event is always complete.
// A stream also counts the cost of the ops that went through it, and the time: every checked op entry holds the scope that `charge` returns.
#pragma once
#include <array>
#include <cstdint>

#include "kernels/base/timed.h"
#include "kernels/view.h"

namespace drover {

enum class OpKind : uint8_t {
  gemm,
  attention,
  rmsnorm,
  rope,
  swiglu,
  embedding,
  cross_entropy,
  optimizer,
  elementwise,
  reduction,
  count
};
const char* name_of(OpKind kind);

// What an op must do at least: floating-point operations, and bytes that have to move between memory and the processor.
struct OpCost {
  OpKind kind = OpKind::elementwise;
  int64_t flops = 0;
  int64_t bytes = 0;
};

struct OpTotals {
  int64_t calls = 0, flops = 0, bytes = 0;
  double seconds = 0;  // on the cpu, where ops run inline, the ops' own time
};

class Stream {
 public:
  explicit Stream(Device device = {}) : device_(device) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  [[nodiscard]] Timed charge(const OpCost& cost);
  const OpTotals& totals(OpKind kind) const { return totals_[static_cast<size_t>(kind)]; }
  void reset_totals() { totals_ = {}; }
  void synchronize() {}  // cpu: nothing is ever pending

 private:
  Device device_;
  std::array<OpTotals, static_cast<size_t>(OpKind::count)> totals_{};
};

class Event {
 public:
  void record(Stream&) {}
  void wait(Stream&) const {}  // the given stream waits for what was recorded
};

}  // namespace drover
