#include "tests/simt/streams.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/simt/simt.h"

struct CUevent_st {
  std::shared_ptr<std::chrono::steady_clock::time_point> when = std::make_shared<std::chrono::steady_clock::time_point>();
  std::shared_ptr<std::atomic<bool>> reached;  // by the stream that recorded it last; null: never recorded
};

struct CUstream_st {
  struct Piece {
    drover::simt::Work work;
    drover::simt::WaitsFor waits_for;
  };
  std::deque<Piece> queue;
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
  int64_t left_out = 0;  // of the waits, by number; 0: none

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

// One piece of work of the fastest stream that can go on. False where none can.
bool advance() {
  streams().change_sometimes();
  for (CUstream_st* stream : streams().all) {
    if (stream->queue.empty()) continue;
    // What throws is done, too: the host hears of it once.
    CUstream_st::Piece piece = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (piece.work()) {
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
    wait_for(work);
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

Counts counts() { return streams().counts; }
void count_launch() { ++streams().counts.launches; }
void count_copy() { ++streams().counts.copies; }

void leave_out_wait(int64_t number) { streams().left_out = streams().counts.waits + number; }

void set_stream_seed(uint64_t seed) {
  streams().random.seed(seed);
  streams().mood = 0;
}

}  // namespace drover::simt

using drover::simt::streams;

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
  ++streams().counts.synchronizations;
  drover::simt::drain(stream);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
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
  ++streams().counts.records;
  event->reached = std::make_shared<std::atomic<bool>>(false);
  drover::simt::enqueue(stream, [reached = event->reached, when = event->when] {
    *when = std::chrono::steady_clock::now();
    return *reached = true;
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++streams().counts.synchronizations;
  drover::simt::wait_for([event] { return event->reached->load(); });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(*end->when - *begin->when).count();
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return event->reached == nullptr || *event->reached ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (++streams().counts.waits == streams().left_out || event->reached == nullptr) return cudaSuccess;
  drover::simt::enqueue(stream, [reached = event->reached] { return reached->load(); });
  return cudaSuccess;
}

}  // extern "C"
