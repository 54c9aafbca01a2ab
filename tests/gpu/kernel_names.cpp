// A library that the driver and NVTX load into a program (CUDA_INJECTION64_PATH, NVTX_INJECTION64_PATH): by CUPTI, which kernel ran in which
// of the program's ranges. At the end of the process a line for each kernel, "range<TAB>kernel", goes to the file that DROVER_KERNEL_NAMES
// names; the range is empty outside all ranges. What CUPTI refuses is the last line, "error<TAB>what".
#include <cupti.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/nvtx_injection.h"

namespace {

#if CUPTI_API_VERSION >= 130000
using Kernel = CUpti_ActivityKernel10;
#else
using Kernel = CUpti_ActivityKernel9;
#endif
constexpr CUpti_ExternalCorrelationKind kRange = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;

struct Seen {
  std::mutex mutex;  // buffers come back on a thread of CUPTI's
  std::vector<std::string> ranges{""};
  std::vector<std::pair<uint32_t, std::string>> kernels;  // correlation and name, in the order of the records
  std::map<uint32_t, uint64_t> range_of;                  // by correlation
  std::string error;
};
Seen& seen() {
  static Seen* const all = new Seen;  // outlives the exit's functions
  return *all;
}

void require(CUptiResult status, const char* what) {
  if (status == CUPTI_SUCCESS || !seen().error.empty()) return;
  const char* text = "unknown";
  cuptiGetResultString(status, &text);
  seen().error = std::string(what) + ": " + text;
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* most_records) {
  *size = size_t{1} << 20;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, *size));
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::lock_guard lock(seen().mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const auto* kernel = reinterpret_cast<const Kernel*>(record);
      seen().kernels.emplace_back(kernel->correlationId, kernel->name);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION) {
      const auto* external = reinterpret_cast<const CUpti_ActivityExternalCorrelation*>(record);
      if (external->externalKind == kRange) seen().range_of[external->correlationId] = external->externalId;
    }
  }
  std::free(buffer);
}

void write_down() {
  require(cuptiActivityFlushAll(1), "asking for the last records");
  const char* path = std::getenv("DROVER_KERNEL_NAMES");
  std::FILE* file = path == nullptr ? nullptr : std::fopen(path, "w");
  if (file == nullptr) return;
  const std::lock_guard lock(seen().mutex);
  for (const auto& [correlation, name] : seen().kernels) {
    const auto found = seen().range_of.find(correlation);
    std::fprintf(file, "%s\t%s\n", seen().ranges[found == seen().range_of.end() ? 0 : found->second].c_str(), name.c_str());
  }
  if (!seen().error.empty()) std::fprintf(file, "error\t%s\n", seen().error.c_str());
  std::fclose(file);
}

int depth = 0;

int NVTX_API begin(const char* name) {
  uint64_t number = 0;
  {
    const std::lock_guard lock(seen().mutex);
    number = seen().ranges.size();
    seen().ranges.emplace_back(name);
  }
  cuptiActivityPushExternalCorrelationId(kRange, number);
  return depth++;
}
int NVTX_API end() {
  uint64_t number = 0;
  cuptiActivityPopExternalCorrelationId(kRange, &number);
  return --depth;
}

}  // namespace

extern "C" int InitializeInjection() {
  require(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), "handing over buffers");
  // Records of API calls are what ranges are joined to.
  for (const CUpti_ActivityKind kind : {CUPTI_ACTIVITY_KIND_RUNTIME, CUPTI_ACTIVITY_KIND_DRIVER,
                                        CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL})
    require(cuptiActivityEnable(kind), "asking for records");
  std::atexit(write_down);
  return 1;
}

extern "C" int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t table_of) {
  return drover::testing::call_for_ranges(table_of, &begin, &end);
}
