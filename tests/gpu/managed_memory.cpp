// The memory of kernel tests on a real GPU (tests/kernels/testing.h).
#include <cuda_runtime_api.h>

#include <cstddef>

#include "kernels/cuda/errors.h"

namespace drover::testing {

void* allocate_managed(size_t bytes) {
  void* memory = nullptr;
  cuda::require(cudaMallocManaged(&memory, bytes, cudaMemAttachGlobal), "managed memory");
  return memory;
}

void release_managed(void* memory) { cudaFree(memory); }

void settle() { cuda::require(cudaDeviceSynchronize(), "a kernel"); }

}  // namespace drover::testing
