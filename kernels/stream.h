// Ordered work on one device. On the cpu every op runs inline, before the call returns, so an Event is always complete; on a GPU it is
// queued.
// A stream also counts the cost of the ops that went through it, and the time: every checked op entry holds the scope that `charge` returns.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/base/timed.h"
#include "kernels/view.h"

struct CUstream_st;  // the CUDA runtime's stream and event
struct CUevent_st;

namespace drover {

class GpuClock;

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

struct GemmCall;  // kernels/gemm_algorithms.h

// What an op must do at least: floating-point operations, and bytes that have to move between memory and the processor.
struct OpCost {
  OpKind kind = OpKind::elementwise;
  int64_t flops = 0;
  int64_t bytes = 0;
};

struct OpTotals {
  int64_t calls = 0, flops = 0, bytes = 0;
  // On the cpu, where ops run inline, the ops' own time; on a GPU that of queueing them, or theirs with time_ops().
  double seconds = 0;
};

class Stream {
 public:
  using Totals = std::array<OpTotals, static_cast<size_t>(OpKind::count)>;  // by kind

  // Throws Error(hardware) for a GPU that is not there, and in a program without CUDA.
  explicit Stream(Device device = {});
  // On the device of `first`; both count what either is charged.
  explicit Stream(Stream* first);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  CUstream_st* gpu() const { return gpu_; }  // null on the cpu
  [[nodiscard]] Timed charge(const OpCost& cost);
  const OpTotals& totals(OpKind kind) const { return charges_->totals[static_cast<size_t>(kind)]; }
  const Totals& totals() const { return charges_->totals; }
  void reset_totals() { charges_->totals = {}; }
  void add(const Totals& done);  // by ops that went through this stream as a graph, and so charged nothing themselves
  // From here on the totals' seconds on a GPU are its own, with what waits between an op's kernels; collect_times() brings them up to date. For
  // streams of one device at once. It costs two events an op. On the cpu they are the ops' own anyway.
  void time_ops();
  void collect_times();  // waits for the GPU
  // While `calls` is not null, matrix products are noted there and not computed (NotedProducts).
  void note_products(std::vector<GemmCall>* calls) { products_ = calls; }
  std::vector<GemmCall>* noted_products() const { return products_; }
  void synchronize();  // until all that was queued is done

 private:
  Device device_;
  CUstream_st* gpu_ = nullptr;
  struct Charges {
    Totals totals{};
    std::unique_ptr<GpuClock> clock;  // null: the host's
  };
  std::shared_ptr<Charges> charges_;
  std::vector<GemmCall>* products_ = nullptr;
};

class Event {
 public:
  Event() = default;
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream& stream);
  void wait(Stream& stream) const;  // the given stream waits for what was recorded last, if anything was

 private:
  CUevent_st* gpu_ = nullptr;
};

}  // namespace drover
