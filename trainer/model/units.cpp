#include "trainer/model/units.h"

#include <cmath>
#include <numeric>

namespace drover {
namespace {

constexpr double kDeviation = 0.02;
constexpr int64_t kAlign = 64;  // elements: every product's weight starts on a cache line, in any dtype

// Appends parameters one after the other; `aligned` ones start at a multiple of kAlign.
class UnitBuilder {
 public:
  explicit UnitBuilder(std::string name) { unit_.name = std::move(name); }

  Parameter& add(const std::string& name, bool aligned, Shape global, Shape local, Shape offset) {
    if (aligned) unit_.count = (unit_.count + kAlign - 1) / kAlign * kAlign;
    Parameter parameter{.name = name, .global = global, .local = local, .offset = offset, .begin = unit_.count};
    parameter.valid = local.count();
    unit_.count += parameter.valid;
    unit_.parameters.push_back(parameter);
    return unit_.parameters.back();
  }
  void matrix(const std::string& name, bool aligned, const Shape& global, const Shape& local, const Shape& offset,
              double deviation) {
    Parameter& parameter = add(name, aligned, global, local, offset);
    parameter.deviation = deviation;
    parameter.product = true;
  }
  void norm(const std::string& name, int64_t hidden) {
    Parameter& parameter = add(name, true, {hidden}, {hidden}, {0});
    parameter.init = Init::ones;
    parameter.decay = false;
    parameter.replicated = true;
    unit_.replicated = unit_.count;
  }
  void bias(const std::string& name, bool aligned, int64_t global, int64_t local, int64_t offset) {
    Parameter& parameter = add(name, aligned, {global}, {local}, {offset});
    parameter.init = Init::zeros;
    parameter.decay = false;
  }
  // Rows of the vocabulary; the last rank's trailing rows may be padding.
  void vocabulary(const std::string& name, int64_t vocab, const ModelShape& shape, bool head) {
    Parameter& parameter =
        add(name, true, {vocab, shape.hidden}, {shape.vocabulary_rows, shape.hidden}, {shape.vocabulary.first, 0});
    parameter.valid = shape.vocabulary.valid * shape.hidden;
    parameter.deviation = kDeviation;
    parameter.product = head;
  }
  Unit take() { return std::move(unit_); }

 private:
  Unit unit_;
};

}  // namespace

const Parameter& Unit::parameter(std::string_view suffix) const {
  const Parameter* found = nullptr;
  for (const Parameter& candidate : parameters) {
    if (!candidate.name.ends_with(suffix)) continue;
    DROVER_CHECK(found == nullptr, "unit " + name + " has several parameters " + std::string(suffix));
    found = &candidate;
  }
  DROVER_CHECK(found != nullptr, "unit " + name + " has no parameter " + std::string(suffix));
  return *found;
}

Unit embedding_unit(const Config& config, const ModelShape& shape, bool head) {
  UnitBuilder builder("embedding");
  builder.vocabulary("model.embed_tokens.weight", config.model.vocab, shape, head);
  Unit unit = builder.take();
  unit.tied = config.model.tied_embeddings;
  return unit;
}

Unit block_unit(const Config& config, const ModelShape& shape, int64_t layer, int tp_coordinate) {
  const ModelConfig& model = config.model;
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t h = model.hidden, ffn = model.ffn, r = tp_coordinate;
  const int64_t q = model.heads * model.head_dim, kv = model.kv_heads * model.head_dim;
  const int64_t own_q = shape.heads * model.head_dim, own_kv = shape.kv_heads * model.head_dim, own_ffn = shape.ffn;
  const double projection = kDeviation / std::sqrt(2.0 * static_cast<double>(model.layers));  // into the residual stream (GPT-2)
  UnitBuilder builder("block " + std::to_string(layer));
  builder.norm(prefix + "input_layernorm.weight", h);
  builder.norm(prefix + "post_attention_layernorm.weight", h);
  builder.matrix(attention + "q_proj.weight", true, {q, h}, {own_q, h}, {r * own_q, 0}, kDeviation);
  builder.matrix(attention + "k_proj.weight", false, {kv, h}, {own_kv, h}, {r * own_kv, 0}, kDeviation);
  builder.matrix(attention + "v_proj.weight", false, {kv, h}, {own_kv, h}, {r * own_kv, 0}, kDeviation);
  builder.matrix(attention + "o_proj.weight", true, {h, q}, {h, own_q}, {0, r * own_q}, projection);
  builder.matrix(mlp + "gate_proj.weight", true, {ffn, h}, {own_ffn, h}, {r * own_ffn, 0}, kDeviation);
  builder.matrix(mlp + "up_proj.weight", false, {ffn, h}, {own_ffn, h}, {r * own_ffn, 0}, kDeviation);
  builder.matrix(mlp + "down_proj.weight", true, {h, ffn}, {h, own_ffn}, {0, r * own_ffn}, projection);
  if (model.qkv_bias) {
    builder.bias(attention + "q_proj.bias", true, q, own_q, r * own_q);
    builder.bias(attention + "k_proj.bias", false, kv, own_kv, r * own_kv);
    builder.bias(attention + "v_proj.bias", false, kv, own_kv, r * own_kv);
  }
  return builder.take();
}

Unit head_unit(const Config& config, const ModelShape& shape) {
  UnitBuilder builder("head");
  builder.norm("model.norm.weight", shape.hidden);
  if (!config.model.tied_embeddings) builder.vocabulary("lm_head.weight", config.model.vocab, shape, true);
  return builder.take();
}

StageUnits stage_units(const Config& config, const Mesh& mesh, int rank) {
  const int stages = mesh.size(Axis::pp), stage = mesh.coordinate(rank, Axis::pp), tp = mesh.coordinate(rank, Axis::tp);
  const ModelShape shape = model_shape(config, mesh, rank);
  const std::vector<int> layers = layers_per_stage(config.model.layers, stages);
  int64_t layer = std::accumulate(layers.begin(), layers.begin() + stage, int64_t{0});
  StageUnits result;
  result.first = stage == 0;
  result.last = stage == stages - 1;
  if (result.first) {
    result.embedding = 0;
    result.units.push_back(embedding_unit(config, shape, result.last && config.model.tied_embeddings));
  }
  for (int i = 0; i < layers[static_cast<size_t>(stage)]; ++i) result.units.push_back(block_unit(config, shape, layer++, tp));
  if (result.last) result.units.push_back(head_unit(config, shape));
  result.executed = static_cast<int>(result.units.size());
  if (result.last && !result.first && config.model.tied_embeddings) {
    result.embedding = result.executed;
    result.units.push_back(embedding_unit(config, shape, true));
    result.units.back().owner = false;
  }
  return result;
}

}  // namespace drover
