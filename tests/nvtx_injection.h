// What a library that NVTX loads into a program (NVTX_INJECTION64_PATH) does in InitializeInjectionNvtx2.
#pragma once
#include <nvtx3/nvToolsExt.h>

namespace drover::testing {

// From here on ranges call these: begin(name) and end() return the depth. What the library's own function returns: 1, or 0 where NVTX is another.
inline int call_for_ranges(NvtxGetExportTableFunc_t table_of, int(NVTX_API* begin)(const char*), int(NVTX_API* end)()) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(table_of(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned count = 0;
  if (callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &count) == 0) return 0;
  *functions[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(begin);
  *functions[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(end);
  return 1;
}

}  // namespace drover::testing
