// Work that a step enqueues again and again, as CUDA graphs.
//
// The first time a piece of work comes it is enqueued as ever, by which libraries choose their algorithms and load their kernels: what a capture
// forbids. The second time it is captured, and launched. From then on it is launched, and the host does nothing else for it.
// What must not be in a graph, such as communication, splits it: the graph of what stands before, the call, the graph of what stands behind.
#pragma once
#include <compare>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "kernels/graph.h"
#include "parallel/schedule.h"
#include "trainer/dependencies.h"

namespace drover {

class Recordings {
 public:
  using Call = std::function<void(Stream&)>;

  // What decides which kernels an action enqueues, and with which arguments: work of equal keys is the same, but for the values in memory.
  struct Key {
    Op op = Op::forward;
    int unit = 0;
    int activation = 0;                            // Placement
    std::vector<Access> accesses;                  // of the stage's other buffers
    bool first = false;                            // weight gradients are written, not added to
    bool gradient = false;                         // the loss comes with its gradient
    auto operator<=>(const Key&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 takes its 0 for a pointer
  };

  // Enqueues `work`, and adds what its ops cost to the stream's totals. REQUIRES: one stream, on a GPU, for all work.
  void run(const Key& key, Stream& stream, const Call& work);

  // Within work: what comes now, and again at this place of every later run, but in no graph. `call` keeps its arguments by value and adds
  // nothing to the stream's totals.
  void apart(Stream& stream, const Call& call);

 private:
  struct Part {  // one of the two
    Graph graph;
    Call call;
  };
  struct Recording {
    bool done = false;
    std::vector<Part> parts;
    Stream::Totals cost{};
  };

  void record(Recording& recording, Stream& stream, const Call& work);
  static void replay(const Recording& recording, Stream& stream);
  void end_part(Stream& stream);

  std::map<Key, Recording> recordings_;
  Recording* current_ = nullptr;  // that is made now
  std::optional<Capture> capture_;
};

}  // namespace drover
