#include "trainer/process_memory.h"

#include <fstream>
#include <string>

namespace drover {
namespace {

int64_t status_kib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1));
  return 0;
}

}  // namespace

int64_t peak_resident_bytes() { return 1024 * status_kib("VmHWM"); }
int64_t current_resident_bytes() { return 1024 * status_kib("VmRSS"); }

}  // namespace drover
