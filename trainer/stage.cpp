#include "trainer/stage.h"

#include "kernels/adamw.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"

namespace drover {
namespace {

// Binds a block's parameters: `view(end of the logical name, shape)` gives the weights' or the gradients' view.
template <class View, class Bind> BlockParameters<View> bind_block(const ModelShape& s, bool bias, Bind&& view) {
  const int64_t qkv = s.qkv_heads() * s.head_dim;
  return {.norm1 = view("input_layernorm.weight", Shape{s.hidden}),
          .norm2 = view("post_attention_layernorm.weight", Shape{s.hidden}),
          .qkv = view("q_proj.weight", Shape{qkv, s.hidden}),
          .bias = bias ? view("q_proj.bias", Shape{qkv}) : View{},
          .o = view("o_proj.weight", Shape{s.hidden, s.heads * s.head_dim}),
          .gate_up = view("gate_proj.weight", Shape{2 * s.ffn, s.hidden}),
          .down = view("down_proj.weight", Shape{s.hidden, s.ffn})};
}

}  // namespace

Stage::Stage(Arena& arena, const Config& config, const Mesh& mesh, int rank, const StageUnits& units, const ParamStore& store,
             const StageMemory& memory)
    : shape_(model_shape(config, mesh, rank)), first_(units.first), last_(units.last), executed_(units.executed) {
  blocks_.resize(static_cast<size_t>(executed_));
  for (int unit = 0; unit < executed_; ++unit) {
    if (is_embedding(unit) || is_head(unit)) continue;
    const auto weight = [&](std::string_view parameter, const Shape& shape) { return store.weight(unit, parameter, shape); };
    const auto gradient = [&](std::string_view parameter, const Shape& shape) { return store.gradient(unit, parameter, shape); };
    blocks_[static_cast<size_t>(unit)].emplace(shape_, bind_block<ConstTensorView>(shape_, config.model.qkv_bias, weight),
                                               bind_block<TensorView>(shape_, config.model.qkv_bias, gradient));
  }
  const Shape vocabulary{shape_.vocabulary_rows, shape_.hidden}, hidden{shape_.hidden};
  if (units.embedding >= 0) {
    embedding_ = store.weight(units.embedding, "embed_tokens.weight", vocabulary);
    dembedding_ = store.gradient(units.embedding, "embed_tokens.weight", vocabulary);
  }
  vocabulary_unit_ = config.model.tied_embeddings && last_ ? units.embedding : executed_ - 1;
  if (last_) {
    const int unit = executed_ - 1;
    head_norm_ = store.weight(unit, "model.norm.weight", hidden);
    dhead_norm_ = store.gradient(unit, "model.norm.weight", hidden);
    const bool tied = config.model.tied_embeddings;
    head_ = tied ? embedding_ : store.weight(unit, "lm_head.weight", vocabulary);
    dhead_ = tied ? dembedding_ : store.gradient(unit, "lm_head.weight", vocabulary);
  }
  work_ = carve_workspace(arena, shape_);
  sums_ = arena.carve("workspace", "step sums", DType::f64, {step_sums});
  uncounted_ = arena.carve("workspace", "uncounted sums", DType::f64, {2});
  const TensorView counted = mesh.coordinate(rank, Axis::tp) == 0 ? sums_ : uncounted_;
  loss_ = {counted.slice(loss_sum, {1}), counted.slice(weight_sum, {1})};
  carve_slots(arena, memory);
}

void Stage::carve_slots(Arena& arena, const StageMemory& memory) {
  const Shape own{shape_.own_tokens, shape_.hidden};
  BlockSaved shared;
  if (memory.recompute) shared = carve_saved(arena, "recomputed", shape_);
  for (int i = 0; i < memory.activations; ++i) {
    const std::string prefix = "in flight " + std::to_string(i) + " unit ";
    Slot slot;
    slot.x.resize(static_cast<size_t>(executed_));
    slot.saved.resize(static_cast<size_t>(executed_));
    for (int unit = 0; unit < executed_; ++unit) {
      const std::string name = prefix + std::to_string(unit);
      if (unit > 0) slot.x[static_cast<size_t>(unit)] = arena.carve("activations", name + " x", shape_.dtype, own);
      if (blocks_[static_cast<size_t>(unit)])
        slot.saved[static_cast<size_t>(unit)] = memory.recompute ? shared : carve_saved(arena, name, shape_);
    }
    if (last_) {
      slot.head_rstd = arena.carve("activations", prefix + "head rstd", DType::f32, {shape_.own_tokens});
      slot.head_gradient = arena.carve("activations", prefix + "head gradient", shape_.dtype, own);
    }
    slots_.push_back(std::move(slot));
  }
  for (int i = 0; i < memory.inputs; ++i)
    inputs_.push_back(arena.carve("pipeline", "input " + std::to_string(i), shape_.dtype, own));
  for (int i = 0; i < memory.gradients; ++i)
    gradients_.push_back(arena.carve("pipeline", "gradient " + std::to_string(i), shape_.dtype, own));
  for (int i = 0; i < memory.outputs; ++i)
    outputs_.push_back(arena.carve("pipeline", "output " + std::to_string(i), shape_.dtype, own));
  if (!last_) return;
  chunk_ = {.logits = arena.carve("workspace", "logits", shape_.dtype, {shape_.loss_chunk, shape_.vocabulary_rows}),
            .statistics = arena.carve("workspace", "logits statistics", DType::f32, {3 * shape_.tp * shape_.loss_chunk})};
}

void Stage::fill_tables(Stream& stream, const ModelConfig& model) {
  const RopeScalingConfig& scaling = model.rope_scaling;
  rope_table(stream, work_.cosine, work_.sine,
             rope_frequencies(model.head_dim, model.rope_theta,
                              {scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_positions}));
}

TensorView Stage::unit_input(int unit, const Placement& place) const {
  return unit == 0 ? input(place) : slot(place).x[static_cast<size_t>(unit)];
}

TensorView Stage::unit_output(int unit, const Placement& place) const {
  return unit + 1 < executed_ ? slot(place).x[static_cast<size_t>(unit) + 1] : output(place);
}

void Stage::forward(Stream& stream, const Groups& groups, int unit, const Placement& place, const Batch& batch, bool gradient) {
  const TensorParallel tp = tensor_parallel(stream, groups);
  if (is_head(unit)) return head_forward(tp, unit_input(unit, place), place, batch, gradient);
  const TensorView y = unit_output(unit, place);
  if (is_embedding(unit)) {
    vocabulary_embedding_forward(tp, work_.partial, batch.token, embedding_, shape_.vocabulary);
    copy(stream, y, own_rows(tp, work_.partial));
    return;
  }
  block(unit).forward(tp, y, unit_input(unit, place), batch, slot(place).saved[static_cast<size_t>(unit)], work_);
}

void Stage::head_forward(const TensorParallel& tp, ConstTensorView x, const Placement& place, const Batch& batch, bool gradient) {
  const Slot& s = slot(place);
  rmsnorm_forward(tp.stream, own_rows(tp, work_.norm1), s.head_rstd, x, head_norm_, shape_.eps);
  vocabulary_loss(tp, loss_, gradient ? work_.partial : TensorView{}, gradient ? dhead_ : TensorView{}, work_.norm1, head_,
                  batch.target, batch.weight, shape_.vocabulary, chunk_, place.beta());
  if (gradient) copy(tp.stream, s.head_gradient, own_rows(tp, work_.partial));
}

void Stage::recompute(Stream& stream, const Groups& groups, int unit, const Placement& place, const Batch& batch) {
  block(unit).recompute(tensor_parallel(stream, groups), unit_input(unit, place), batch,
                        slot(place).saved[static_cast<size_t>(unit)], work_);
}

void Stage::backward_input(Stream& stream, const Groups& groups, int unit, const Placement& place, const Batch& batch) {
  const TensorParallel tp = tensor_parallel(stream, groups);
  const Slot& s = slot(place);
  const TensorView d = gradient(place);
  if (is_head(unit)) {
    rmsnorm_backward(stream, d, dhead_norm_, s.head_gradient, unit_input(unit, place), s.head_rstd, head_norm_, false,
                     work_.norm_scratch);
  } else if (is_embedding(unit)) {
    copy(stream, own_rows(tp, work_.partial), d);
    vocabulary_embedding_backward(tp, dembedding_, work_.partial, batch.token, shape_.vocabulary);
  } else {
    block(unit).backward_input(tp, d, unit_input(unit, place), batch, s.saved[static_cast<size_t>(unit)], work_);
  }
}

void Stage::backward_weight(Stream& stream, const Groups& groups, int unit, const Placement& place) {
  // The head's weight gradient is made with its loss, the embedding's with its input gradient.
  if (is_head(unit) || is_embedding(unit)) return;
  block(unit).backward_weight(tensor_parallel(stream, groups), slot(place).saved[static_cast<size_t>(unit)], work_, place.beta());
}

std::vector<Access> Stage::accesses(const Action& action, const Placement& place) const {
  using Kind = Resource::Kind;
  const Resource input{Kind::input, place.input}, output{Kind::output, place.output}, gradient{Kind::gradient, place.gradient};
  const Resource weight_gradients{Kind::weight_gradients, action.unit};
  switch (action.op) {
    case Op::recv_act: return {{input, true}};
    case Op::send_act: return {{output, false}};
    case Op::recv_grad: return {{gradient, true}};
    case Op::send_grad: return {{gradient, false}};
    case Op::reduce_replicated:
    case Op::reduce_grads: return {{weight_gradients, true}};
    default: break;
  }
  const bool forward = action.op == Op::forward, backward = !forward && action.op != Op::recompute;
  std::vector<Access> accesses{{{Kind::batch, action.microbatch}, false}, {{Kind::weights, action.unit}, false}};
  if (action.unit == 0 && !first_) accesses.push_back({input, false});
  if (forward && action.unit == executed_ - 1 && !last_) accesses.push_back({output, true});
  if (backward) accesses.insert(accesses.end(), {{gradient, true}, {weight_gradients, true}});
  // The head's products are made with its loss.
  if (forward && is_head(action.unit))
    accesses.insert(accesses.end(),
                    {{{Kind::weights, vocabulary_unit_}, false}, {{Kind::weight_gradients, vocabulary_unit_}, true}});
  return accesses;
}

TensorView Stage::logits(Stream& stream, const Groups& groups, int64_t token) {
  DROVER_CHECK(last_ && groups.tp.size() == 1, "logits need the whole model on one rank");
  const TensorView logits = chunk_.logits.rows(0, 1);
  gemm(stream, logits, work_.norm1.rows(token, 1), false, head_, true, 0, work_.gemm_scratch);
  return logits;
}

}  // namespace drover
