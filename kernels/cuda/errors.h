// Errors of the CUDA runtime.
#pragma once
#include <cuda_runtime_api.h>

namespace drover::cuda {

// Throws Error(hardware), Error(memory) for memory that is not there: "CUDA: a kernel's launch: invalid argument".
void require(cudaError_t status, const char* what);

}  // namespace drover::cuda
