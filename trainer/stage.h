// One pipeline stage: its units' weights bound to their code, and the planned buffers of its micro-batches. The executor calls it by
// unit index; embedding, block or head is decided here.
#pragma once
#include <optional>
#include <vector>

#include "data/batch.h"
#include "kernels/arena.h"
#include "parallel/vocabulary.h"
#include "parallel/world.h"
#include "trainer/buffer_plan.h"
#include "trainer/dependencies.h"
#include "trainer/model/block.h"
#include "trainer/model/units.h"
#include "trainer/param_store.h"

namespace drover {

struct StageMemory {
  int activations = 0, inputs = 0, gradients = 0, outputs = 0;  // buffers of each kind (plan_buffers)
  bool recompute = false;                                       // blocks keep their input only
};

// Where one micro-batch lives: indices from a BufferPlan.
struct Placement {
  int activation = -1, input = -1, gradient = -1, output = -1;
  bool first = false;  // to come to the unit's weight gradients: its products write them, the other micro-batches' add
  float beta() const { return first ? 0 : 1; }
};

class Stage {
 public:
  Stage(Arena& arena, const Config& config, const Mesh& mesh, int rank, const StageUnits& units, const ParamStore& store,
        const StageMemory& memory);

  void forward(Stream& stream, const Groups& groups, int unit, const Placement& place, const Batch& batch, bool gradient);
  void recompute(Stream& stream, const Groups& groups, int unit, const Placement& place, const Batch& batch);
  void backward_input(Stream& stream, const Groups& groups, int unit, const Placement& place, const Batch& batch);
  void backward_weight(Stream& stream, const Groups& groups, int unit, const Placement& place);

  // Ends of the stage, [own tokens, hidden].
  TensorView input(const Placement& place) const { return inputs_[static_cast<size_t>(place.input)]; }
  TensorView output(const Placement& place) const { return outputs_[static_cast<size_t>(place.output)]; }
  TensorView gradient(const Placement& place) const { return gradients_[static_cast<size_t>(place.gradient)]; }

  // What an action of this stage reads and writes of the memory that more than one stream works on.
  std::vector<Access> accesses(const Action& action, const Placement& place) const;

  // Logits of one token of the last forward's micro-batch, [1, vocabulary rows]: for generation, on a group of one.
  TensorView logits(Stream& stream, const Groups& groups, int64_t token);

  const ModelShape& shape() const { return shape_; }
  TensorView sums() const { return sums_; }                    // [step_sums] f64
  void fill_tables(Stream& stream, const ModelConfig& model);  // of the rotary embedding, once

 private:
  struct Slot {                           // one micro-batch in flight
    std::vector<TensorView> x;            // by unit: its input; empty for the first unit
    std::vector<BlockSaved> saved;        // by unit; blocks only; all the same buffers under recompute
    TensorView head_rstd, head_gradient;  // last stage
  };
  bool is_embedding(int unit) const { return first_ && unit == 0; }
  bool is_head(int unit) const { return last_ && unit == executed_ - 1; }
  const TransformerBlock& block(int unit) const { return *blocks_[static_cast<size_t>(unit)]; }
  TensorParallel tensor_parallel(Stream& stream, const Groups& groups) const { return {stream, groups.tp, work_.gemm_scratch}; }
  TensorView unit_input(int unit, const Placement& place) const;
  TensorView unit_output(int unit, const Placement& place) const;
  void carve_slots(Arena& arena, const StageMemory& memory);
  void head_forward(const TensorParallel& tp, ConstTensorView x, const Placement& place, const Batch& batch, bool gradient);
  const Slot& slot(const Placement& place) const { return slots_[static_cast<size_t>(place.activation)]; }

  ModelShape shape_;
  bool first_, last_;
  int executed_;
  int vocabulary_unit_;                                  // that holds the head's weights: the head itself, or what it is tied to
  std::vector<std::optional<TransformerBlock>> blocks_;  // by unit
  ConstTensorView embedding_, head_, head_norm_;
  TensorView dembedding_, dhead_, dhead_norm_;
  Workspace work_;
  LossChunk chunk_;
  TensorView sums_, uncounted_;  // every tp rank computes the loss; one counts it
  LossSums loss_;
  std::vector<Slot> slots_;
  std::vector<TensorView> inputs_, gradients_, outputs_;
};

}  // namespace drover
