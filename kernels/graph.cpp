#include "kernels/graph.h"

#include "kernels/cuda/device.h"

namespace drover {

void Graph::Destroy::operator()(CUgraphExec_st* graph) const { cuda::destroy_graph(graph); }

void Graph::launch(Stream& stream) const {
  if (!empty()) cuda::launch_graph(stream.gpu(), gpu_.get());
}

Capture::Capture(Stream& stream) : stream_(stream) { cuda::begin_capture(stream.gpu()); }

Capture::~Capture() {
  if (!ended_) cuda::abandon_capture(stream_.gpu());
}

Graph Capture::end() {
  ended_ = true;
  Graph graph;
  graph.gpu_.reset(cuda::end_capture(stream_.gpu()));
  return graph;
}

}  // namespace drover
