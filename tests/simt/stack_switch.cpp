#include "tests/simt/stack_switch.h"

#include <cstdint>

#if defined(__x86_64__)

// *from = what the callee must keep of the caller, on its stack; then the same backwards from `to`.
extern "C" void drover_switch_stacks(void** from, void* to);
asm(R"(
.text
.type drover_switch_stacks, @function
.globl drover_switch_stacks
drover_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size drover_switch_stacks, . - drover_switch_stacks
)");

namespace drover::simt {

void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  constexpr int kRegisters = 6;
  // As `entry` finds it: 8 bytes, a return address that is never used, above a multiple of 16.
  char* const end = memory + bytes;
  auto* top = reinterpret_cast<void**>(end - reinterpret_cast<uintptr_t>(end) % 16);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kRegisters; ++i) *--top = nullptr;
  stack.pointer = top;
}

void switch_stacks(Stack& from, Stack& to) { drover_switch_stacks(&from.pointer, to.pointer); }

}  // namespace drover::simt

#else

namespace drover::simt {

void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  getcontext(&stack.context);
  stack.context.uc_stack.ss_sp = memory;
  stack.context.uc_stack.ss_size = bytes;
  stack.context.uc_link = nullptr;
  makecontext(&stack.context, entry, 0);
}

void switch_stacks(Stack& from, Stack& to) { swapcontext(&from.context, &to.context); }

}  // namespace drover::simt

#endif
