#include "kernels/stream.h"

#include "kernels/cuda/device.h"
#include "kernels/gpu_clock.h"

namespace drover {

const char* name_of(OpKind kind) {
  static constexpr std::array<const char*, static_cast<size_t>(OpKind::count)> kNames = {
      "gemm", "attention", "rmsnorm", "rope", "swiglu", "embedding", "cross_entropy", "optimizer", "elementwise", "reduction"};
  return kNames.at(static_cast<size_t>(kind));
}

Stream::Stream(Device device) : device_(device), charges_(std::make_shared<Charges>()) {
  if (device.type != DeviceType::cuda) return;
  if (!cuda::linked()) throw Error(ExitCode::hardware, "this program was built without CUDA: it trains on cpu ranks only");
  gpu_ = cuda::create_stream(device.index);
}

Stream::Stream(Stream* first) : Stream(first->device()) { charges_ = first->charges_; }

Stream::~Stream() {
  if (gpu_ != nullptr) cuda::destroy_stream(gpu_);
}

void Stream::synchronize() {
  if (gpu_ != nullptr) cuda::synchronize(gpu_);
}

void Stream::time_ops() {
  if (gpu_ != nullptr) charges_->clock = std::make_unique<GpuClock>();
}

void Stream::collect_times() {
  if (charges_->clock) charges_->clock->collect();
}

Event::~Event() {
  if (gpu_ != nullptr) cuda::destroy_event(gpu_);
}

void Event::record(Stream& stream) {
  if (stream.gpu() == nullptr) return;
  if (gpu_ == nullptr) gpu_ = cuda::create_event();
  cuda::record(gpu_, stream.gpu());
}

void Event::wait(Stream& stream) const {
  if (gpu_ != nullptr && stream.gpu() != nullptr) cuda::wait(stream.gpu(), gpu_);
}

Timed Stream::charge(const OpCost& cost) {
  OpTotals& total = charges_->totals[static_cast<size_t>(cost.kind)];
  total.calls += 1;
  total.flops += cost.flops;
  total.bytes += cost.bytes;
  if (charges_->clock) charges_->clock->start(gpu_, total.seconds);
  return Timed(total.seconds, charges_->clock.get());
}

void Stream::add(const Totals& done) {
  for (size_t kind = 0; kind < done.size(); ++kind) {
    OpTotals& total = charges_->totals[kind];
    total.calls += done[kind].calls;
    total.flops += done[kind].flops;
    total.bytes += done[kind].bytes;
    total.seconds += done[kind].seconds;
  }
}

}  // namespace drover
