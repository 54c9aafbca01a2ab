// cuDNN's functions, looked up when they are first called: a program without a GPU needs no cuDNN.
#include <cudnn_backend.h>

#include "kernels/cuda/lazy_library.h"

DROVER_LAZY_LIBRARY("libcudnn.so", CUDNN_MAJOR, "cuDNN")

extern "C" {

size_t cudnnGetVersion() { DROVER_CALL(cudnnGetVersion); }
const char* cudnnGetErrorString(cudnnStatus_t status) { DROVER_CALL(cudnnGetErrorString, status); }
void cudnnGetLastErrorString(char* text, size_t size) { DROVER_CALL(cudnnGetLastErrorString, text, size); }
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { DROVER_CALL(cudnnCreate, handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) { DROVER_CALL(cudnnSetStream, handle, stream); }

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  DROVER_CALL(cudnnBackendCreateDescriptor, type, descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  DROVER_CALL(cudnnBackendDestroyDescriptor, descriptor);
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) { DROVER_CALL(cudnnBackendFinalize, descriptor); }
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  DROVER_CALL(cudnnBackendSetAttribute, descriptor, name, type, count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted, int64_t* count, void* values) {
  DROVER_CALL(cudnnBackendGetAttribute, descriptor, name, type, wanted, count, values);
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t arguments) {
  DROVER_CALL(cudnnBackendExecute, handle, plan, arguments);
}

}  // extern "C"
