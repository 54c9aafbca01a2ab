// Going on with another stack on the same thread. By hand where that is x86-64: ucontext asks the kernel for the signal mask each time, which
// takes fifty times as long.
#pragma once
#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace drover::simt {

#if defined(__x86_64__)

struct Stack {
  void* pointer = nullptr;  // on top: where to go on, and its frame pointer
};

// The first switch to it calls `entry`, which never returns.
inline void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  // As `entry` finds it: 8 bytes, a return address that is never used, above a multiple of 16.
  char* const end = memory + bytes;
  auto* top = reinterpret_cast<void**>(end - reinterpret_cast<uintptr_t>(end) % 16);
  *--top = nullptr;
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  stack.pointer = top;
}

// Returns when something switches back to `from`. Within the caller, and by a jump: a return would go where no call came from, which the processor
// guesses wrong each time. 128 bytes below the stack's end belong to the caller (the red zone).
inline __attribute__((always_inline)) void switch_stacks(Stack& from, Stack& to) {
  void* keep = &from.pointer;
  void* next = to.pointer;
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rbp\n\t"
      "pushq %%rax\n\t"
      "movq %%rsp, (%0)\n\t"
      "movq %1, %%rsp\n\t"
      "popq %%rax\n\t"
      "popq %%rbp\n\t"
      "jmpq *%%rax\n"
      "1:\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+D"(keep), "+S"(next)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
        "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
}

#else

struct Stack {
  ucontext_t context{};
};

inline void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  getcontext(&stack.context);
  stack.context.uc_stack.ss_sp = memory;
  stack.context.uc_stack.ss_size = bytes;
  stack.context.uc_link = nullptr;
  makecontext(&stack.context, entry, 0);
}

inline void switch_stacks(Stack& from, Stack& to) { swapcontext(&from.context, &to.context); }

#endif

}  // namespace drover::simt
