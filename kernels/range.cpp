#include "kernels/range.h"

#include "kernels/cuda/device.h"

namespace drover {

Range::Range(const Stream& stream, const std::string& name) : begun_(stream.gpu() != nullptr) {
  if (begun_) cuda::begin_range(name.c_str());
}

Range::~Range() {
  if (begun_) cuda::end_range();
}

}  // namespace drover
