// Parameters, gradients and optimizer state of one rank, by flat unit. How they are divided among data-parallel ranks is decided here
// alone: the optimizer works on this rank's shard of each unit, whatever the ZeRO stage (shard of 1: ZeRO-0).
//
//   weights    [unit] compute dtype, whole on every rank
//   gradients  [unit] f32 accumulators, whole; after reduce_gradients this rank's shard holds the sum over all replicas
//   state      named f32 arrays over the shard: master, m, v. In f32 the master is the weights' own shard. The tied embedding's copy on the
//              last stage has none: the first stage updates, and publish sends the weights.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/arena.h"
#include "kernels/stream.h"
#include "parallel/world.h"
#include "trainer/checkpoint/piece.h"
#include "trainer/model/units.h"

namespace drover {

struct ShardPlace {
  int tp = 0;                // this rank's tensor-parallel coordinate
  int index = 0, count = 1;  // this rank among those that divide the optimizer state
  int replica = 0;           // among those that hold copies of it
};

class ParamStore {
 public:
  // `host`: where the host reads and writes optimizer state; `arena` itself where that is host memory.
  ParamStore(Arena& arena, Arena& host, std::vector<Unit> units, DType dtype, const ShardPlace& place);

  int size() const { return static_cast<int>(units_.size()); }
  const Unit& unit(int index) const { return at(index).unit; }
  // Views of `shape` that start at a parameter, named by the end of its logical name, and may span the ones that lie side by side with it.
  ConstTensorView weight(int unit, std::string_view parameter, const Shape& shape) const;
  TensorView gradient(int unit, std::string_view parameter, const Shape& shape) const;

  void initialize(uint64_t seed);  // masters on the host, from (seed, name, global element index)
  void to_device(Stream& stream);  // optimizer state from the host, which wrote it, and this rank's shard of the weights from that
  void to_host(Stream& stream);    // and back, before the host reads pieces
  // This rank's shard of the weights, as to_device or update left it, to all ranks that compute with them.
  void publish(Stream& stream, const Groups& groups, int unit);

  void zero_gradients(Stream& stream);  // before a step; those that its products write stay as they are
  bool zeroes(int unit) const;          // whether any of the unit's are zeroed
  void reduce_replicated(Stream& stream, const Groups& groups, int unit);
  void reduce_gradients(Stream& stream, const Groups& groups, int unit);
  // Whether other ranks take part in these. A group of one has nothing to do, and so no stream need wait for it.
  bool publishes(const Groups& groups, int unit) const { return groups.shard.size() > 1 || is_tied(groups, unit); }
  // Who sends to the tied copies has its weights already.
  bool publish_writes(const Groups& groups, int unit) const { return groups.shard.size() > 1 || !at(unit).unit.owner; }
  bool reduces_replicated(const Groups& groups, int unit) const {
    return (groups.tp.size() > 1 && at(unit).unit.replicated > 0) || is_tied(groups, unit);
  }
  static bool reduces_gradients(const Groups& groups) { return groups.shard.size() > 1 || groups.replicate.size() > 1; }
  // Adds the squares of the reduced gradients that this rank owns: over the world, each logical element counts once.
  void add_squares(Stream& stream, TensorView sum) const;
  // Of the shard of a unit: state and weights.
  void update(Stream& stream, int unit, ConstTensorView control, const AdamW& adamw, double lr, double weight_decay);

  // On the host; gradients as scale_gradients left them.
  std::vector<Piece> pieces(bool owned_only, bool gradients) const;
  // Hash of each parameter's weights, as this rank computes with them, by "name [offset]": equal on all ranks that hold the same part.
  std::map<std::string, uint64_t> weight_hashes(Stream& stream) const;
  void scale_gradients(Stream& stream, double scale);  // of the shard, on the host, after a step: for a checkpoint of gradients
  // The first parameter with a non-finite reduced gradient in this rank's shard, in the order of the backward pass: units, and parameters
  // within a unit, from the last to the first.
  struct Place {
    int unit = -1, parameter = -1;  // -1: none
  };
  Place first_non_finite(Stream& stream);

 private:
  struct Segment {  // of the shard, inside one parameter
    int parameter = 0;
    int64_t begin = 0, count = 0;  // in the shard
  };
  struct State {
    std::string name;
    TensorView values, host;  // [shard] f32
  };
  struct Flat {
    Unit unit;
    TensorView weights, gradients;
    int64_t shard_begin = 0, shard_count = 0;  // in the unit
    std::vector<State> state;                  // empty, like the segments, where the unit is a copy
    std::vector<Segment> segments;
    std::unique_ptr<float[]> gradient_copy;  // of the shard, on the host, where gradients are not
  };

  const Flat& at(int unit) const { return units_[static_cast<size_t>(unit)]; }
  Flat make_flat(Arena& arena, Arena& host, Unit unit) const;
  bool owns(const Flat& flat, const Segment& segment) const;
  bool is_tied(const Groups& groups, int unit) const { return groups.tied.size() > 1 && at(unit).unit.tied; }
  float* gradients_on_host(const Flat& flat) const;
  void copy_gradients(Stream& stream);  // where the host cannot read them
  TensorView shard_gradients(const Flat& flat) const { return flat.gradients.slice(flat.shard_begin, {flat.shard_count}); }
  TensorView shard_weights(const Flat& flat) const { return flat.weights.slice(flat.shard_begin, {flat.shard_count}); }
  void add_pieces(std::vector<Piece>& pieces, const Flat& flat, const Segment& segment, const std::string& array,
                  float* values) const;

  DType dtype_;
  ShardPlace place_;
  std::vector<Flat> units_;
  TensorView square_sums_;
};

}  // namespace drover
