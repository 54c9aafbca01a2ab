// CUDA's threads on one cpu thread, for tests of kernels without a GPU. The threads of a block are fibers; whenever all that can run have
// come to a barrier or an exchange, or have ended, the next round runs them in another, shuffled order, and leaves some warps behind. Blocks are
// shuffled too.
//
// What it finds: accesses outside an allocation (with the address sanitizer), shared memory that is read before it was written (it begins
// as NaN), a missing barrier (some order shows it), a barrier or an exchange to which not all threads come, and a trap. What it cannot
// run: asynchronous copies, tensor cores, atomics, kernels that wait for other blocks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/base/error.h"

namespace drover::simt {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
extern Index threadIdx, blockIdx, blockDim, gridDim;

struct Launch {
  int64_t blocks, parts;
  int threads;
  int64_t shared_bytes;
};

// What a GPU would report later, or never.
struct Failure : Error {
  explicit Failure(const std::string& what) : Error(ExitCode::hardware, what) {}
};

// Runs `thread` as every thread of every block. Throws Failure: "block 3, thread 7: ...".
void run(const Launch& launch, const std::function<void()>& thread);

// The order of threads and blocks from the next launch on.
void set_seed(uint64_t seed);

// Called by threads.
int barrier(unsigned line, int predicate);  // of the block, and of its source line; whether any thread's predicate is not 0
void exchange(unsigned mask, const void* mine, void* other, size_t size,
              int lanes);  // with the lane whose number differs in the bits `lanes`
void* shared();
[[noreturn]] void trap();

}  // namespace drover::simt
