// Named bump allocator for tensor memory. All of a run's tensors are carved before step 0, then the arena is frozen:
// if a run starts, it cannot run out of memory later, and the printed table is the truth.
//
// The same carving code runs twice: on a measuring arena (counts, allocates nothing, views have no data), which is how
// `drover plan` knows the bytes, and on a backed arena of the measured size.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/view.h"

namespace drover {

class Arena {
 public:
  static constexpr int64_t kAlignment = 256;  // bytes; each carve starts at a multiple

  struct Entry {
    std::string category;  // "weights", "gradients", "optimizer", "activations", ...
    std::string name;
    int64_t bytes = 0;  // rounded up to kAlignment
  };

  // Counts only.
  explicit Arena(Device device = {});
  // Holds `capacity` zeroed bytes. Host memory that a GPU copies from and to is pinned, so that copies need not wait for the host. Throws
  // Error(memory) when the system refuses.
  Arena(int64_t capacity, Device device, bool pinned = false);
  ~Arena();
  Arena(Arena&&) noexcept;
  Arena& operator=(Arena&&) noexcept;

  // A zeroed tensor that lives as long as the arena. Throws Error(internal) after freeze(), and Error(memory), with the
  // table, when the arena is full.
  TensorView carve(const std::string& category, const std::string& name, DType dtype, const Shape& shape);
  void freeze() { frozen_ = true; }
  // All that was carved, as [used()] u8.
  TensorView whole() const { return {base_, DType::u8, device_, {used_}}; }

  Device device() const { return device_; }
  bool measuring() const { return measuring_; }
  int64_t used() const { return used_; }  // bytes
  const std::vector<Entry>& entries() const { return entries_; }
  TensorView memory_of(size_t entry) const;  // u8 [bytes]
  int64_t used_by(const std::string& category) const;
  std::vector<std::string> categories() const;  // in order of first carve

 private:
  Device device_;
  bool measuring_ = true, frozen_ = false, pinned_ = false;
  std::byte* base_ = nullptr;
  int64_t capacity_ = 0, used_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace drover
