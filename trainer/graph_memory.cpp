#include "trainer/graph_memory.h"

#include <algorithm>

#include "trainer/device.h"
#include "trainer/model/shape.h"
#include "trainer/model/units.h"

namespace drover {
namespace {

// An action that makes weight gradients has two graphs, of the first micro-batch and of the others; the head's forward a third, of validation.
constexpr int64_t kForward = 14, kRecompute = 14, kBackward = 32, kBlock = kForward + kRecompute + 2 * kBackward;
constexpr int64_t kEmbedding = 8;
constexpr int64_t kLossChunk = 7, kHeadRest = 3, kHeadForwards = 3;
constexpr int64_t kBytesOfNode = 64 << 10;

}  // namespace

int64_t graph_nodes(const Config& config, const Mesh& mesh) {
  if (!config.run.cuda_graphs || device_type(config) == DeviceType::cpu) return 0;
  const ModelShape shape = model_shape(config, mesh, 0);
  const int64_t chunks = (shape.tokens + shape.loss_chunk - 1) / shape.loss_chunk;
  int64_t most = 0;
  for (int stage = 0; stage < mesh.size(Axis::pp); ++stage) {
    const StageUnits units = stage_units(config, mesh, mesh.rank_of({0, 0, stage, 0, 0}));
    int64_t nodes = (units.executed - (units.first ? 1 : 0) - (units.last ? 1 : 0)) * kBlock;
    if (units.first) nodes += kEmbedding;
    if (units.last) nodes += kHeadForwards * (kLossChunk * chunks + kHeadRest) + kHeadRest;
    most = std::max(most, nodes);
  }
  return most * std::min<int64_t>(microbatches(config), mesh.size(Axis::pp));  // a set for each micro-batch in flight
}

int64_t graph_bytes(const Config& config, const Mesh& mesh) { return graph_nodes(config, mesh) * kBytesOfNode; }

}  // namespace drover
