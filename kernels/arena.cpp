#include "kernels/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/cuda/device.h"

namespace drover {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Zeroed memory at a multiple of a huge page, which the system is asked to back with such pages: a product that reads a matrix by columns
// touches another page for each row. nullptr: the system refuses the memory.
std::byte* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(memory);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + bytes, kHugePage - before);
  madvise(begin + before, bytes, MADV_HUGEPAGE);  // a wish
  return begin + before;
}

size_t whole_pages(int64_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (static_cast<size_t>(bytes) + page - 1) / page * page;
}

}  // namespace

Arena::Arena(Device device) : device_(device) {}

Arena::Arena(int64_t capacity, Device device, bool pinned)
    : device_(device), measuring_(false), pinned_(pinned), capacity_(capacity) {
  if (capacity == 0) return;
  const bool gpu = device.type == DeviceType::cuda;
  base_ = gpu ? cuda::allocate(capacity, device.index) : pinned ? cuda::allocate_pinned(capacity) : reserve(whole_pages(capacity));
  if (base_ == nullptr)
    throw Error(ExitCode::memory, "cannot reserve " + std::to_string(capacity) + " bytes of tensor memory on this " +
                                      (gpu ? "GPU" : "host") +
                                      "; a smaller train.micro_batch, train.recompute: "
                                      "block, or more ranks need less (drover plan shows the table)");
}

Arena::~Arena() {
  if (base_ == nullptr) return;
  if (device_.type == DeviceType::cuda)
    cuda::release(base_);
  else if (pinned_)
    cuda::release_pinned(base_);
  else
    munmap(base_, whole_pages(capacity_));
}

Arena::Arena(Arena&& other) noexcept { *this = std::move(other); }

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(measuring_, other.measuring_);
  std::swap(frozen_, other.frozen_);
  std::swap(pinned_, other.pinned_);
  std::swap(base_, other.base_);
  std::swap(capacity_, other.capacity_);
  std::swap(used_, other.used_);
  std::swap(entries_, other.entries_);
  return *this;
}

TensorView Arena::carve(const std::string& category, const std::string& name, DType dtype, const Shape& shape) {
  DROVER_CHECK(!frozen_, "carve of " + name + " after the arena was frozen");
  const int64_t bytes = (shape.count() * size_of(dtype) + kAlignment - 1) / kAlignment * kAlignment;
  if (!measuring_ && used_ + bytes > capacity_)
    throw Error(ExitCode::memory, "the planned memory is full: " + category + "/" + name + " needs " + std::to_string(bytes) +
                                      " bytes, " + std::to_string(capacity_ - used_) + " are left of " + std::to_string(capacity_));
  std::byte* data = measuring_ ? nullptr : base_ + used_;
  used_ += bytes;
  entries_.push_back({category, name, bytes});
  return {data, dtype, device_, shape};
}

TensorView Arena::memory_of(size_t entry) const {
  int64_t begin = 0;
  for (size_t i = 0; i < entry; ++i) begin += entries_[i].bytes;
  return {measuring_ ? nullptr : base_ + begin, DType::u8, device_, {entries_.at(entry).bytes}};
}

int64_t Arena::used_by(const std::string& category) const {
  int64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.category == category ? entry.bytes : 0;
  return bytes;
}

std::vector<std::string> Arena::categories() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_)
    if (std::find(names.begin(), names.end(), entry.category) == names.end()) names.push_back(entry.category);
  return names;
}

}  // namespace drover
