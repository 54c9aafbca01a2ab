#include "kernels/cuda/device.h"

#include <nvtx3/nvToolsExt.h>

#include <cctype>
#include <cstring>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cuda/errors.h"

namespace drover::cuda {

void require(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw Error(status == cudaErrorMemoryAllocation ? ExitCode::memory : ExitCode::hardware,
              std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // that there is none is no error of what comes next
  return 0;
}

std::string device_name(int device) {
  cudaDeviceProp properties{};
  require(cudaGetDeviceProperties(&properties, device), "asking a GPU for its name");
  return properties.name;
}

Memory memory_of(int device) {
  size_t free = 0, all = 0;
  require(cudaSetDevice(device), "choosing a GPU");
  require(cudaMemGetInfo(&free, &all), "asking a GPU for its memory");
  return {static_cast<int64_t>(free), static_cast<int64_t>(all)};
}

int64_t cache_bytes(int device) {
  cudaDeviceProp properties{};
  require(cudaGetDeviceProperties(&properties, device), "asking a GPU for its cache");
  return properties.l2CacheSize;
}

std::string pci_bus_id(int device) {
  char text[32] = {};
  require(cudaDeviceGetPCIBusId(text, sizeof text, device), "asking a GPU for its PCI address");
  std::string id = text;
  for (char& c : id) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return id;
}

StreamHandle create_stream(int device) {
  cudaStream_t stream = nullptr;
  require(cudaSetDevice(device), "choosing a GPU");
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return stream;
}

void destroy_stream(StreamHandle stream) { cudaStreamDestroy(stream); }
void synchronize(StreamHandle stream) { require(cudaStreamSynchronize(stream), "waiting for a stream"); }

EventHandle create_event() {
  cudaEvent_t event = nullptr;
  require(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  return event;
}

EventHandle create_timer() {
  cudaEvent_t event = nullptr;
  require(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event");
  return event;
}

double seconds_between(EventHandle begin, EventHandle end) {
  float milliseconds = 0;
  require(cudaEventSynchronize(end), "waiting for an event");
  require(cudaEventElapsedTime(&milliseconds, begin, end), "reading two events' times");
  return milliseconds / 1e3;
}

void destroy_event(EventHandle event) { cudaEventDestroy(event); }
void record(EventHandle event, StreamHandle stream) { require(cudaEventRecord(event, stream), "recording an event"); }
void wait(StreamHandle stream, EventHandle event) { require(cudaStreamWaitEvent(stream, event, 0), "waiting for an event"); }

bool reached(EventHandle event) {
  const cudaError_t status = cudaEventQuery(event);
  if (status == cudaErrorNotReady) cudaGetLastError();  // no error of what comes next
  return status == cudaSuccess;
}

// Of this thread only: others, NCCL's and the watch's, ask about events meanwhile.
void begin_capture(StreamHandle stream) {
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a graph");
}

GraphHandle end_capture(StreamHandle stream) {
  cudaGraph_t captured = nullptr;
  require(cudaStreamEndCapture(stream, &captured), "ending a graph");
  size_t nodes = 0;
  cudaGraphExec_t ready = nullptr;
  cudaError_t status = cudaGraphGetNodes(captured, nullptr, &nodes);
  if (status == cudaSuccess && nodes > 0) status = cudaGraphInstantiate(&ready, captured, 0);
  cudaGraphDestroy(captured);
  require(status, "making a graph ready");
  return ready;
}

void abandon_capture(StreamHandle stream) {
  cudaGraph_t captured = nullptr;
  cudaStreamEndCapture(stream, &captured);
  if (captured != nullptr) cudaGraphDestroy(captured);
  cudaGetLastError();  // what went wrong was said before
}

void launch_graph(StreamHandle stream, GraphHandle graph) { require(cudaGraphLaunch(graph, stream), "launching a graph"); }
void destroy_graph(GraphHandle graph) { cudaGraphExecDestroy(graph); }

void begin_range(const char* name) { nvtxRangePushA(name); }
void end_range() { nvtxRangePop(); }

std::byte* allocate(int64_t bytes, int device) {
  void* memory = nullptr;
  require(cudaSetDevice(device), "choosing a GPU");
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the caller says what it was for
    return nullptr;
  }
  require(status, "reserving memory");
  require(cudaMemset(memory, 0, static_cast<size_t>(bytes)), "clearing memory");
  require(cudaStreamSynchronize(nullptr), "clearing memory");  // our streams do not wait for the default one
  return static_cast<std::byte*>(memory);
}

void release(std::byte* memory) { cudaFree(memory); }

std::byte* allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  if (cudaMallocHost(&memory, static_cast<size_t>(bytes)) != cudaSuccess) {
    cudaGetLastError();  // the caller says what it was for
    return nullptr;
  }
  std::memset(memory, 0, static_cast<size_t>(bytes));
  return static_cast<std::byte*>(memory);
}

void release_pinned(std::byte* memory) { cudaFreeHost(memory); }

void upload(StreamHandle stream, TensorView to, const void* source) {
  require(cudaMemcpyAsync(to.data, source, static_cast<size_t>(to.bytes()), cudaMemcpyHostToDevice, stream), "upload");
}

void download(StreamHandle stream, void* to, ConstTensorView source) {
  require(cudaMemcpyAsync(to, source.data, static_cast<size_t>(source.bytes()), cudaMemcpyDeviceToHost, stream), "download");
  synchronize(stream);
}

}  // namespace drover::cuda
