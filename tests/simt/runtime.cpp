// The CUDA runtime's functions that Drover calls, on host memory: as many GPUs as DROVER_SIMT_GPUS says, of which CUDA_VISIBLE_DEVICES shows some.
// Streams and events: streams.cpp.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "tests/simt/streams.h"

namespace {
constexpr size_t kGpu = size_t{16} << 30;  // bytes
size_t allocated = 0;
std::map<void*, size_t> sizes;

// Host memory that a GPU reads when the copy's turn comes; all other is read before the copy's call returns.
std::map<const char*, size_t>& pinned() {
  static std::map<const char*, size_t> ranges;
  return ranges;
}
bool is_pinned(const void* memory) {
  const char* address = static_cast<const char*>(memory);
  const auto after = pinned().upper_bound(address);
  return after != pinned().begin() && address < std::prev(after)->first + std::prev(after)->second;
}

// The machine's numbers of the GPUs that this process sees.
std::vector<int> visible() {
  const char *wanted = std::getenv("DROVER_SIMT_GPUS"), *shown = std::getenv("CUDA_VISIBLE_DEVICES");
  std::vector<int> gpus;
  for (int gpu = 0; shown == nullptr && gpu < (wanted == nullptr ? 8 : std::atoi(wanted)); ++gpu) gpus.push_back(gpu);
  for (; shown != nullptr && *shown != '\0'; shown += *shown == ',') {
    char* end = nullptr;
    gpus.push_back(static_cast<int>(std::strtol(shown, &end, 10)));
    shown = end;
  }
  return gpus;
}
int current_device = 0;
}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(visible().size());
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  std::snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0", 0x1A + 16 * visible().at(static_cast<size_t>(device)));
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "a GPU played by the cpu");
  properties->l2CacheSize = 64 << 10;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* all) {
  *all = kGpu;
  *free = kGpu - allocated;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "an error";
  }
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (drover::simt::spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  if (bytes > kGpu - allocated) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  sizes[*memory] = bytes;
  allocated += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  drover::simt::drain_all();
  allocated -= sizes[memory];
  sizes.erase(memory);
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  drover::simt::count_launch(stream);
  drover::simt::enqueue(stream, [=] {
    std::memset(memory, value, bytes);
    return true;
  });
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  if (drover::simt::spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  pinned()[static_cast<const char*>(*memory)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  drover::simt::drain_all();
  pinned().erase(static_cast<const char*>(memory));
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  drover::simt::count_copy(stream);
  const char* source = static_cast<const char*>(from);
  std::shared_ptr<std::vector<char>> taken;
  const bool now = kind == cudaMemcpyHostToDevice && !is_pinned(from) && !drover::simt::capturing(stream);
  if (now) taken = std::make_shared<std::vector<char>>(source, source + bytes);
  drover::simt::enqueue(stream, [=] {
    std::memcpy(to, taken ? taken->data() : source, bytes);
    return true;
  });
  return cudaSuccess;
}

}  // extern "C"
