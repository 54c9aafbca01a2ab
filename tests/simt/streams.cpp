#include "tests/simt/streams.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "tests/simt/simt.h"

struct CUevent_st {
  struct Moment {
    std::atomic<bool> reached = false;
    double milliseconds = 0;  // of the stand-in's clock
  };
  std::shared_ptr<Moment> recorded;  // last; null: never
};

struct CUstream_st {
  struct Piece {
    drover::simt::Work work;
    drover::simt::WaitsFor waits_for;
  };
  std::deque<Piece> queue;
  std::optional<std::vector<drover::simt::Work>> captured;
  bool spoilt = false;
};

struct CUgraph_st {
  std::vector<drover::simt::Work> nodes;
};
struct CUgraphExec_st {
  std::vector<drover::simt::Work> nodes;
};

namespace drover::simt {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Streams {
  std::vector<CUstream_st*> all;  // the fastest first
  std::mt19937_64 random{number_from("DROVER_SIMT_SEED", 1)};
  bool eager = false;                              // does its work while the host enqueues, not only when it waits
  uint64_t mood = 0;                               // pieces of work until somebody else is fast
  std::chrono::steady_clock::duration patience{};  // in which slow streams wait beside a fast one that waits for another rank
  std::chrono::steady_clock::time_point stuck_since;
  bool stuck = false;
  Counts counts;
  double milliseconds = 0;        // that the work done so far took
  int64_t left_out = 0;           // of the waits, by number; 0: none
  int64_t graphs = 0, nodes = 0;  // that live

  uint64_t below(uint64_t count) { return random() % count; }
  // Who is fast and who is slow stays so for a while: a moment, or most of a step.
  void change_sometimes() {
    constexpr uint64_t kLongest = 12;
    if (mood > 0) return;
    mood = uint64_t{1} << below(kLongest);
    eager = below(2) == 0;
    constexpr int kPatience[] = {0, 0, 5, 20};
    patience = std::chrono::milliseconds(kPatience[below(4)]);
    std::shuffle(all.begin(), all.end(), random);
  }
  // Whether slower streams wait on. Else they would always catch up while the fast one waits.
  bool patient() {
    const auto now = std::chrono::steady_clock::now();
    if (!stuck) stuck_since = now;
    stuck = true;
    return now - stuck_since < patience;
  }
};
Streams& streams() {
  static Streams streams;
  return streams;
}

constexpr double kMillisecondsOfAnything = 1e-3;

// One piece of work of the fastest stream that can go on. False where none can.
bool advance() {
  streams().change_sometimes();
  for (CUstream_st* stream : streams().all) {
    if (stream->queue.empty()) continue;
    // What throws is done, too: the host hears of it once.
    CUstream_st::Piece piece = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (piece.work()) {
      streams().milliseconds += kMillisecondsOfAnything;
      streams().stuck = false;
      streams().mood -= streams().mood > 0;
      return true;
    }
    const WaitsFor waits_for = piece.waits_for;
    stream->queue.push_front(std::move(piece));
    if (waits_for == WaitsFor::ranks && streams().patient()) return false;
  }
  return false;
}

void wait_for(const std::function<bool()>& done) {
  while (!done())
    if (!advance()) std::this_thread::yield();
}

}  // namespace

void enqueue(cudaStream_t stream, Work work, WaitsFor waits_for) {
  if (stream == nullptr) {  // the default stream, of tests that have no other
    if (spoils_capture()) throw Failure("the default stream is used while another one is captured");
    wait_for(work);
    return;
  }
  if (stream->captured) {
    if (waits_for == WaitsFor::ranks) throw Failure("an operation of NCCL in a capture");
    stream->captured->push_back(std::move(work));
    return;
  }
  stream->queue.push_back({std::move(work), waits_for});
  streams().change_sometimes();
  for (uint64_t pieces = streams().eager ? streams().below(4) : 0; pieces > 0 && advance();) --pieces;
}

void drain(cudaStream_t stream) {
  if (stream != nullptr) wait_for([stream] { return stream->queue.empty(); });
}

void drain_all() {
  for (CUstream_st* stream : streams().all) drain(stream);
}

void pass_time(double milliseconds) { streams().milliseconds += milliseconds; }
Counts counts() { return streams().counts; }
void count_launch(cudaStream_t stream) { streams().counts.launches += !capturing(stream); }
void count_copy(cudaStream_t stream) { streams().counts.copies += !capturing(stream); }

bool capturing(cudaStream_t stream) { return stream != nullptr && stream->captured.has_value(); }
bool spoils_capture() {
  bool any = false;
  for (CUstream_st* stream : streams().all) {
    stream->spoilt = stream->spoilt || stream->captured;
    any = any || stream->captured;
  }
  return any;
}
int64_t live_graphs() { return streams().graphs; }
int64_t live_nodes() { return streams().nodes; }

void leave_out_wait(int64_t number) { streams().left_out = streams().counts.waits + number; }

void set_stream_seed(uint64_t seed) {
  streams().random.seed(seed);
  streams().mood = 0;
}

}  // namespace drover::simt

using drover::simt::capturing;
using drover::simt::streams;

namespace {

cudaError_t spoilt(cudaStream_t stream, cudaError_t why) {
  stream->spoilt = true;
  return why;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  streams().all.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drover::simt::drain(stream);
  std::erase(streams().all, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (capturing(stream)) return spoilt(stream, cudaErrorStreamCaptureUnsupported);
  ++streams().counts.synchronizations;
  drover::simt::drain(stream);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (drover::simt::spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  ++streams().counts.synchronizations;
  drover::simt::drain_all();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (capturing(stream)) return spoilt(stream, cudaErrorStreamCaptureUnsupported);
  ++streams().counts.records;
  event->recorded = std::make_shared<CUevent_st::Moment>();
  drover::simt::enqueue(stream, [moment = event->recorded] {
    moment->milliseconds = streams().milliseconds;
    return moment->reached = true;
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++streams().counts.synchronizations;
  drover::simt::wait_for([event] { return event->recorded->reached.load(); });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return event->recorded == nullptr || event->recorded->reached ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (cudaEventQuery(begin) != cudaSuccess || cudaEventQuery(end) != cudaSuccess) return cudaErrorNotReady;
  if (begin->recorded == nullptr || end->recorded == nullptr) return cudaErrorInvalidResourceHandle;
  *milliseconds = static_cast<float>(end->recorded->milliseconds - begin->recorded->milliseconds);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (capturing(stream)) return spoilt(stream, cudaErrorStreamCaptureIsolation);
  if (++streams().counts.waits == streams().left_out || event->recorded == nullptr) return cudaSuccess;
  drover::simt::enqueue(stream, [moment = event->recorded] { return moment->reached.load(); });
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr || capturing(stream) || mode != cudaStreamCaptureModeThreadLocal) return cudaErrorStreamCaptureUnsupported;
  stream->captured.emplace();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!capturing(stream)) return cudaErrorIllegalState;
  const bool whole = !stream->spoilt;
  if (whole) *graph = new CUgraph_st{std::move(*stream->captured)};
  streams().graphs += whole;
  stream->captured.reset();
  stream->spoilt = false;
  return whole ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  *ready = new CUgraphExec_st{graph->nodes};
  ++streams().graphs;
  streams().nodes += static_cast<int64_t>(graph->nodes.size());
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  ++streams().counts.graph_launches;
  for (const drover::simt::Work& node : graph->nodes) drover::simt::enqueue(stream, node);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  --streams().graphs;
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  --streams().graphs;
  streams().nodes -= static_cast<int64_t>(graph->nodes.size());
  delete graph;
  return cudaSuccess;
}

}  // extern "C"
