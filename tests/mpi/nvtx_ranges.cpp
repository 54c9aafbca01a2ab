// What a profiler is to NVTX: a library that it loads (NVTX_INJECTION64_PATH), here one that writes the names of ranges to standard error.
#include <cstdio>

#include "tests/nvtx_injection.h"

namespace {

int depth = 0;

int NVTX_API begin(const char* name) {
  std::fprintf(stderr, "range %s\n", name);
  return depth++;
}
int NVTX_API end() { return --depth; }

}  // namespace

extern "C" int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t table_of) {
  return drover::testing::call_for_ranges(table_of, &begin, &end);
}
