// cuDNN's functions as kernels/cuda calls them, passed on to the library itself, which plans for an H100 that is not there: from 9.8 on it takes a
// description of the device in place of a handle. It compiles the kernels, too, and loads them into a driver: tests/cudnn/driver.cpp.
#include <cudnn_backend.h>

#include <cstring>

#include "kernels/cuda/lazy_library.h"

namespace {

constexpr const char* kH100 =
    R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":132,"warpSize":32,)"
    R"("maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
    R"("maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,)"
    R"("totalGlobalMem":85017493504,"smClockRateKHz":1980000,"memClockRateKHz":2619000,"l2CacheSize":52428800,"cudaDeviceId":0,)"
    R"("deviceVer":900,"driverVer":13000,"deviceName":"NVIDIA H100 80GB HBM3"})";

const drover::cuda::LazyLibrary& library() {
  static const drover::cuda::LazyLibrary driver(DROVER_DRIVER, 1, "the tests' driver");  // before cuDNN looks for one of that name
  static const drover::cuda::LazyLibrary instance(DROVER_CUDNN, CUDNN_MAJOR, "cuDNN");
  return instance;
}

#define DROVER_REAL(name) library().find<decltype(name)>(#name)

cudnnBackendDescriptor_t h100() {
  static const cudnnBackendDescriptor_t device = [] {
    cudnnBackendDescriptor_t made = nullptr;
    DROVER_REAL(cudnnBackendCreateDescriptor)(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &made);
    DROVER_REAL(cudnnBackendSetAttribute)
    (made, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<int64_t>(std::strlen(kH100)), kH100);
    DROVER_REAL(cudnnBackendFinalize)(made);
    return made;
  }();
  return device;
}

cudnnStatus_t set_device(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name) {
  cudnnBackendDescriptor_t device = h100();
  return DROVER_REAL(cudnnBackendSetAttribute)(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &device);
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return DROVER_REAL(cudnnGetVersion)(); }
const char* cudnnGetErrorString(cudnnStatus_t status) { return DROVER_REAL(cudnnGetErrorString)(status); }
void cudnnGetLastErrorString(char* text, size_t size) { DROVER_REAL(cudnnGetLastErrorString)(text, size); }
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = nullptr;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_NOT_SUPPORTED; }

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  return DROVER_REAL(cudnnBackendCreateDescriptor)(type, descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return DROVER_REAL(cudnnBackendDestroyDescriptor)(descriptor);
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) { return DROVER_REAL(cudnnBackendFinalize)(descriptor); }

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  if (name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE) return CUDNN_STATUS_SUCCESS;
  if (name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE) return set_device(descriptor, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
  if (name == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)
    if (const cudnnStatus_t status = set_device(descriptor, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP); status != CUDNN_STATUS_SUCCESS)
      return status;
  return DROVER_REAL(cudnnBackendSetAttribute)(descriptor, name, type, count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted, int64_t* count, void* values) {
  return DROVER_REAL(cudnnBackendGetAttribute)(descriptor, name, type, wanted, count, values);
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  return CUDNN_STATUS_NOT_SUPPORTED;
}

}  // extern "C"
