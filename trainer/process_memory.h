// What the operating system says of this process's memory: the witness beside the plan.
#pragma once
#include <cstdint>

namespace drover {

int64_t peak_resident_bytes();     // VmHWM: the most that was ever resident; 0 where /proc does not tell
int64_t current_resident_bytes();  // VmRSS

}  // namespace drover
