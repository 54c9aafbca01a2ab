#include "kernels/gpu_clock.h"

#include "kernels/base/error.h"

namespace drover {

GpuClock::~GpuClock() {
  for (const Span& span : spans_) {
    cuda::destroy_event(span.begin);
    cuda::destroy_event(span.end);
  }
}

void GpuClock::start(cuda::StreamHandle stream, double& seconds) {
  DROVER_CHECK(!started_, "a GPU's clock takes one span at a time");
  started_ = true;
  if (used_ == spans_.size()) spans_.push_back({cuda::create_timer(), cuda::create_timer()});
  Span& span = spans_[used_];
  span.stream = stream;
  span.seconds = &seconds;
  cuda::record(span.begin, stream);
}

void GpuClock::stop() {
  const Span& span = spans_[used_++];
  cuda::record(span.end, span.stream);
  started_ = false;
}

void GpuClock::collect() {
  for (size_t i = 0; i < used_; ++i) *spans_[i].seconds += cuda::seconds_between(spans_[i].begin, spans_[i].end);
  used_ = 0;
}

}  // namespace drover
