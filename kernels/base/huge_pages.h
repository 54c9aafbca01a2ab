// An allocator for large tables that are looked up all over: huge pages where the system has them, so that a lookup seldom misses the TLB.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace drover {

template <class T> struct HugePageAllocator {
  using value_type = T;
  static constexpr size_t kHugePage = size_t{2} << 20;

  HugePageAllocator() = default;
  template <class U> HugePageAllocator(const HugePageAllocator<U>&) {}  // NOLINT(google-explicit-constructor): as allocators are
  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes < kHugePage) return static_cast<T*>(::operator new (bytes, std::align_val_t{alignof(T)}));
    void* memory = ::operator new (bytes, std::align_val_t{kHugePage});
    madvise(memory, bytes, MADV_HUGEPAGE);  // a wish
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) {
    ::operator delete (memory, std::align_val_t{count * sizeof(T) < kHugePage ? alignof(T) : kHugePage});
  }
  bool operator==(const HugePageAllocator&) const { return true; }
};

}  // namespace drover
