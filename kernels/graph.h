// CUDA graphs: what was enqueued on a stream once is kept, and enqueued again as a whole by one call. A launch does the same kernels and
// copies with the values that their arguments had at the capture; the memory that these point to is read when the stream comes to it.
#pragma once
#include <memory>

#include "kernels/stream.h"

struct CUgraphExec_st;  // the CUDA runtime's graph, ready to be launched

namespace drover {

class Graph {
 public:
  bool empty() const { return gpu_ == nullptr; }  // nothing was enqueued; a launch does nothing
  void launch(Stream& stream) const;

 private:
  friend class Capture;
  struct Destroy {
    void operator()(CUgraphExec_st* graph) const;
  };
  std::unique_ptr<CUgraphExec_st, Destroy> gpu_;
};

// From its construction to end() the work of one stream is kept, and not done. In between the thread may enqueue on this stream only: waiting
// for the GPU, reserving its memory and events are Error(hardware), and so is what is enqueued with them.
class Capture {
 public:
  explicit Capture(Stream& stream);  // REQUIRES: on a GPU
  ~Capture();                        // without end(): what was kept is thrown away
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  Graph end();

 private:
  Stream& stream_;
  bool ended_ = false;
};

}  // namespace drover
