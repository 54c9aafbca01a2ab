// How a kernel starts, and the shared memory it starts with. tests/simt has the same header for the cpu, on which the kernels' own lines are
// tested; it stands before this one in that build's include path.
#pragma once
#include <cuda_runtime.h>

#include "kernels/cuda/errors.h"

namespace drover::cuda {

// All shared memory is asked for here: shared_memory<T>() is its beginning.
struct Grid {
  int64_t blocks = 1;
  int threads = 1;  // a block; a multiple of kWarp where the kernel reduces
  int64_t shared_bytes = 0;
  int64_t parts = 1;  // blocks along y, 65,535 at most
};

template <class T> __device__ inline T* shared_memory() {
  extern __shared__ __align__(16) unsigned char drover_shared_memory[];
  return reinterpret_cast<T*>(drover_shared_memory);
}

// Throws Error(hardware) where the device does not take the launch. No blocks: nothing.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, Arguments&&... arguments) {
  constexpr int64_t kWithoutAsking = 48 * 1024;
  if (grid.blocks == 0 || grid.parts == 0) return;
  if (grid.shared_bytes > kWithoutAsking)
    require(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(grid.shared_bytes)),
            "a kernel's shared memory");
  const dim3 blocks(static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.parts)),
      threads(static_cast<unsigned>(grid.threads));
  kernel<<<blocks, threads, static_cast<size_t>(grid.shared_bytes), stream>>>(static_cast<Parameters>(arguments)...);
  require(cudaGetLastError(), "a kernel's launch");
}

}  // namespace drover::cuda
