#include "kernels/stream.h"

namespace drover {

const char* name_of(OpKind kind) {
  static constexpr std::array<const char*, static_cast<size_t>(OpKind::count)> kNames = {
      "gemm", "attention", "rmsnorm", "rope", "swiglu", "embedding", "cross_entropy", "optimizer", "elementwise", "reduction"};
  return kNames.at(static_cast<size_t>(kind));
}

Timed Stream::charge(const OpCost& cost) {
  OpTotals& total = totals_[static_cast<size_t>(cost.kind)];
  total.calls += 1;
  total.flops += cost.flops;
  total.bytes += cost.bytes;
  return Timed(total.seconds);
}

}  // namespace drover
