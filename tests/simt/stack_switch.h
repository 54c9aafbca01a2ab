// Going on with another stack on the same thread. By hand where that is x86-64: ucontext asks the kernel for the signal mask each time, which
// takes fifty times as long.
#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace drover::simt {

struct Stack {
#if defined(__x86_64__)
  void* pointer = nullptr;
#else
  ucontext_t context{};
#endif
};

// The first switch to it calls `entry`, which never returns.
void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)());
// Returns when something switches back to `from`.
void switch_stacks(Stack& from, Stack& to);

}  // namespace drover::simt
