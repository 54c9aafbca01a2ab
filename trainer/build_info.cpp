#include "trainer/build_info.h"

#include <fmt/format.h>

#include "kernels/base/files.h"
#include "kernels/base/hash.h"
#include "kernels/gemm.h"

namespace drover {

std::string build_id() {
  static const std::string id = [] {
    const MappedFile program("/proc/self/exe");
    const uint64_t hash = xxh3(program.bytes().data(), program.bytes().size());
    return fmt::format("drover {}, g++ {}, build {:08x}", DROVER_VERSION, __VERSION__, hash >> 32);
  }();
  return id;
}
std::string instruction_set() { return gemm_library(); }

}  // namespace drover
