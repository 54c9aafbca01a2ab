// kernels/cuda/launch.h on the cpu: what a kernel file needs of CUDA, so that g++ compiles its own lines. tests/simt/simt.h runs them.
#pragma once
#include <cuda_runtime_api.h>
#include <math.h>
#include <vector_types.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <tuple>

#include "kernels/cuda/errors.h"
#include "tests/simt/simt.h"
#include "tests/simt/streams.h"

using drover::simt::blockDim;
using drover::simt::blockIdx;
using drover::simt::gridDim;
using drover::simt::threadIdx;
using std::min;

// CUDA's names.  NOLINTBEGIN(bugprone-reserved-identifier)
inline void __syncthreads(unsigned line = __builtin_LINE()) { drover::simt::barrier(line, 0); }
inline int __syncthreads_or(int predicate, unsigned line = __builtin_LINE()) { return drover::simt::barrier(line, predicate != 0); }
template <class T> T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  T other;
  drover::simt::exchange(mask, &value, &other, sizeof(T), lanes);
  return other;
}
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline void __trap() { drover::simt::trap(); }
// NOLINTEND(bugprone-reserved-identifier)

namespace drover::cuda {

struct Grid {
  int64_t blocks = 1;
  int threads = 1;
  int64_t shared_bytes = 0;
  int64_t parts = 1;
};

template <class T> T* shared_memory() { return static_cast<T*>(simt::shared()); }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, Arguments&&... arguments) {
  simt::count_launch(stream);
  simt::enqueue(stream, [kernel, grid, values = std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)] {
    simt::run({grid.blocks, grid.parts, grid.threads, grid.shared_bytes}, [&] { std::apply(kernel, values); });
    return true;
  });
}

}  // namespace drover::cuda
