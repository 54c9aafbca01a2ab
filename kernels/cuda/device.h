// GPUs as the rest of the kernels see them: streams, events, memory. The functions are null in programs that the CUDA side is not linked to.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/ops.h"

struct CUevent_st;
struct CUgraphExec_st;

namespace drover::cuda {

using EventHandle = CUevent_st*;
using GraphHandle = CUgraphExec_st*;

DROVER_CUDA_SIDE int device_count();  // 0 where no driver is, too
DROVER_CUDA_SIDE std::string device_name(int device);
struct Memory {
  int64_t free = 0, total = 0;  // bytes
};
DROVER_CUDA_SIDE Memory memory_of(int device);
DROVER_CUDA_SIDE int64_t cache_bytes(int device);     // of the cache that all its multiprocessors share
DROVER_CUDA_SIDE std::string pci_bus_id(int device);  // "0000:3b:00.0", as the kernel's /sys/bus/pci writes it

DROVER_CUDA_SIDE StreamHandle create_stream(int device);
DROVER_CUDA_SIDE void destroy_stream(StreamHandle stream);
DROVER_CUDA_SIDE void synchronize(StreamHandle stream);

DROVER_CUDA_SIDE EventHandle create_event();                                  // for order only, without time
DROVER_CUDA_SIDE EventHandle create_timer();                                  // an event that knows when it was reached
DROVER_CUDA_SIDE double seconds_between(EventHandle begin, EventHandle end);  // two timers' times; waits until `end` is reached
DROVER_CUDA_SIDE void destroy_event(EventHandle event);
DROVER_CUDA_SIDE void record(EventHandle event, StreamHandle stream);
DROVER_CUDA_SIDE void wait(StreamHandle stream, EventHandle event);
DROVER_CUDA_SIDE bool reached(EventHandle event);  // whether what was recorded last is done; waits for nothing, any thread may ask

// What the calling thread enqueues on the stream until the end is kept in place of being done (kernels/graph.h).
DROVER_CUDA_SIDE void begin_capture(StreamHandle stream);
DROVER_CUDA_SIDE GraphHandle end_capture(StreamHandle stream);  // null where nothing was enqueued
DROVER_CUDA_SIDE void abandon_capture(StreamHandle stream);
DROVER_CUDA_SIDE void launch_graph(StreamHandle stream, GraphHandle graph);
DROVER_CUDA_SIDE void destroy_graph(GraphHandle graph);

DROVER_CUDA_SIDE void begin_range(const char* name);  // kernels/range.h
DROVER_CUDA_SIDE void end_range();

// Zeroed; null where the device has not that much.
DROVER_CUDA_SIDE std::byte* allocate(int64_t bytes, int device);
DROVER_CUDA_SIDE void release(std::byte* memory);
DROVER_CUDA_SIDE std::byte* allocate_pinned(int64_t bytes);  // of the host; the same
DROVER_CUDA_SIDE void release_pinned(std::byte* memory);

// A `source` that is not pinned is free again on return, a pinned one when the stream has come to the copy.
DROVER_CUDA_SIDE void upload(StreamHandle stream, TensorView to, const void* source);
DROVER_CUDA_SIDE void download(StreamHandle stream, void* to, ConstTensorView source);  // waits

// Whether the program has its CUDA side.
inline bool linked() { return device_count != nullptr; }

}  // namespace drover::cuda
