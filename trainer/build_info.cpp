#include "trainer/build_info.h"

#include "kernels/gemm.h"

namespace drover {

std::string build_id() { return "drover " DROVER_VERSION ", g++ " __VERSION__; }
std::string instruction_set() { return gemm_library(); }

}  // namespace drover
