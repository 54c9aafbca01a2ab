// A driver, libcuda.so.1, that takes kernels and has no GPU. cuDNN looks these functions up by name when it makes a plan; what it is told of a
// device comes from tests/cudnn/h100.cpp.
#include <cstddef>

constexpr int kSuccess = 0, kNoDevice = 100;  // CUresult

extern "C" {

int cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}
int cuLibraryLoadData(void** library, const void*, void*, void*, unsigned, void*, void*, unsigned) {
  *library = library;
  return kSuccess;
}
int cuLibraryGetKernel(void** kernel, void*, const char*) {
  *kernel = kernel;
  return kSuccess;
}
int cuLibraryUnload(void*) { return kSuccess; }
int cuKernelSetAttribute(int, int, void*, int) { return kSuccess; }

// Looked up, and never to be called where no GPU is.
#define DROVER_ABSENT(name) \
  int name() { return kNoDevice; }
DROVER_ABSENT(cuCtxGetCurrent)
DROVER_ABSENT(cuCtxGetLimit)
DROVER_ABSENT(cuCtxPopCurrent)
DROVER_ABSENT(cuCtxPushCurrent)
DROVER_ABSENT(cuDeviceGet)
DROVER_ABSENT(cuDeviceGetCount)
DROVER_ABSENT(cuGetErrorName)
DROVER_ABSENT(cuGetErrorString)
DROVER_ABSENT(cuInit)
DROVER_ABSENT(cuKernelGetAttribute)
DROVER_ABSENT(cuLaunchCooperativeKernel)
DROVER_ABSENT(cuLaunchKernel)
DROVER_ABSENT(cuLaunchKernelEx)
DROVER_ABSENT(cuLibraryLoadFromFile)
DROVER_ABSENT(cuLinkAddData)
DROVER_ABSENT(cuLinkComplete)
DROVER_ABSENT(cuLinkCreate)
DROVER_ABSENT(cuLinkDestroy)
DROVER_ABSENT(cuOccupancyMaxPotentialClusterSize)
DROVER_ABSENT(cuStreamGetCtx)

}  // extern "C"
