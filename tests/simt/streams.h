// CUDA's streams on one cpu thread: each is a queue of work, and which stream goes on next is drawn at random, so that only events order what
// is in different streams. Work is done while the host waits for a stream, and now and then when it enqueues something.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

namespace drover::simt {

// Called again and again until it returns true; false: what it waits for has not come, and other streams go on.
using Work = std::function<bool()>;
enum class WaitsFor : uint8_t {
  streams,
  ranks
};  // whom the work may wait for: this process's streams, or other ranks, which come by themselves

void enqueue(cudaStream_t stream, Work work, WaitsFor waits_for = WaitsFor::streams);
// Until all that was enqueued before is done. Rethrows what a kernel threw.
void drain(cudaStream_t stream);
void drain_all();

// Work that is being done says how long it would take beside the microsecond that anything takes, by the events that measure it.
void pass_time(double milliseconds);

// What the host asked of the GPU so far. What is captured was not asked for.
struct Counts {
  int64_t launches = 0, copies = 0, records = 0, waits = 0, synchronizations = 0, graph_launches = 0;
};
Counts counts();
void count_launch(cudaStream_t stream);
void count_copy(cudaStream_t stream);

// Captures. As in CUDA what is enqueued is kept with its arguments' values, and what cannot be in a graph spoils it: waiting, reserving memory.
// Stricter than CUDA: events and operations of NCCL are errors too, and so is the default stream meanwhile.
bool capturing(cudaStream_t stream);
// Whether any stream is captured; it then is spoilt.
bool spoils_capture();
int64_t live_graphs();  // made and not destroyed
int64_t live_nodes();   // pieces of work in those that are ready to be launched

// Leaves out a wait for an event, the number-th from here on, counted from 1: does anything notice?
void leave_out_wait(int64_t number);

// The order of streams from here on. DROVER_SIMT_SEED sets it at the start.
void set_stream_seed(uint64_t seed);

}  // namespace drover::simt
