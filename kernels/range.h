// A named stretch of what the host enqueues: profilers show it (NVTX, as Nsight Systems reads it) above the kernels that were launched in it.
// Nothing on the cpu.
#pragma once
#include <string>

#include "kernels/stream.h"

namespace drover {

class Range {
 public:
  Range(const Stream& stream, const std::string& name);
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  bool begun_;
};

}  // namespace drover
