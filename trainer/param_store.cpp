#include "trainer/param_store.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/hash.h"
#include "kernels/base/philox.h"
#include "kernels/base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/reduction.h"
#include "kernels/transfer.h"

namespace drover {
namespace {

constexpr int64_t kShardAlign = 64;  // elements: shards start on a cache line

// Index in the logical tensor of element `i` of a rectangle's contiguous memory.
int64_t global_index(const Piece& piece, int64_t i) {
  if (piece.global.rank == 1) return piece.rectangle.offset[0] + i;
  const int64_t columns = piece.rectangle.extent[1];
  return (piece.rectangle.offset[0] + i / columns) * piece.global[1] + piece.rectangle.offset[1] + i % columns;
}

}  // namespace

ParamStore::ParamStore(Arena& arena, Arena& host, std::vector<Unit> units, DType dtype, const ShardPlace& place)
    : dtype_(dtype), place_(place) {
  for (Unit& unit : units) units_.push_back(make_flat(arena, host, std::move(unit)));
  square_sums_ = arena.carve("workspace", "sums of squares", DType::f64, {kSumOfSquaresScratch});
}

ParamStore::Flat ParamStore::make_flat(Arena& arena, Arena& host, Unit unit) const {
  Flat flat;
  const int64_t multiple = place_.count * kShardAlign;
  const int64_t count = (unit.count + multiple - 1) / multiple * multiple;
  flat.shard_count = count / place_.count;
  flat.shard_begin = place_.index * flat.shard_count;
  flat.weights = arena.carve("weights", unit.name, dtype_, {count});
  flat.gradients = arena.carve("gradients", unit.name, DType::f32, {count});
  const Shape shard{flat.shard_count};
  if (unit.owner) {
    const auto add = [&](const std::string& name, const TensorView& values) {
      const bool same = &arena == &host;
      flat.state.push_back({name, values, same ? values : host.carve("optimizer", unit.name + " " + name, DType::f32, shard)});
    };
    add("master", dtype_ == DType::f32 ? shard_weights(flat) : arena.carve("optimizer", unit.name + " master", DType::f32, shard));
    for (const char* name : {"m", "v"}) add(name, arena.carve("optimizer", unit.name + " " + name, DType::f32, shard));
  }
  for (size_t i = 0; unit.owner && i < unit.parameters.size(); ++i) {
    const Parameter& parameter = unit.parameters[i];
    const int64_t begin = std::max(parameter.begin, flat.shard_begin);
    const int64_t end = std::min(parameter.begin + parameter.valid, flat.shard_begin + flat.shard_count);
    if (begin < end) flat.segments.push_back({static_cast<int>(i), begin - flat.shard_begin, end - begin});
  }
  flat.unit = std::move(unit);
  return flat;
}

ConstTensorView ParamStore::weight(int unit, std::string_view parameter, const Shape& shape) const {
  return at(unit).weights.slice(at(unit).unit.parameter(parameter).begin, shape);
}

TensorView ParamStore::gradient(int unit, std::string_view parameter, const Shape& shape) const {
  return at(unit).gradients.slice(at(unit).unit.parameter(parameter).begin, shape);
}

bool ParamStore::owns(const Flat& flat, const Segment& segment) const {
  const bool replicated = flat.unit.parameters[static_cast<size_t>(segment.parameter)].replicated;
  return place_.replica == 0 && (!replicated || place_.tp == 0);
}

void ParamStore::add_pieces(std::vector<Piece>& pieces, const Flat& flat, const Segment& segment, const std::string& array,
                            float* values) const {
  const Parameter& parameter = flat.unit.parameters[static_cast<size_t>(segment.parameter)];
  const int64_t begin = flat.shard_begin + segment.begin - parameter.begin;
  float* data = values == nullptr ? nullptr : values + segment.begin;
  for (const Rectangle& rectangle : rectangles(begin, begin + segment.count, parameter.local, parameter.offset)) {
    pieces.push_back({array, parameter.name, parameter.global, rectangle, data});
    if (data != nullptr) data += rectangle.extent.count();
  }
}

std::vector<Piece> ParamStore::pieces(bool owned_only, bool gradients) const {
  std::vector<Piece> result;
  for (const Flat& flat : units_)
    for (const Segment& segment : flat.segments) {
      if (owned_only && !owns(flat, segment)) continue;
      for (const State& state : flat.state) add_pieces(result, flat, segment, state.name, state.host.as<float>());
      if (gradients) add_pieces(result, flat, segment, "gradient", gradients_on_host(flat));
    }
  return result;
}

void ParamStore::initialize(uint64_t seed) {
  for (const Flat& flat : units_)
    for (const Segment& segment : flat.segments) {
      const Parameter& parameter = flat.unit.parameters[static_cast<size_t>(segment.parameter)];
      const uint64_t stream = xxh3(parameter.name);
      std::vector<Piece> parts;
      add_pieces(parts, flat, segment, "master", flat.state[0].host.as<float>());
      for (const Piece& piece : parts)
        parallel_for(piece.rectangle.extent.count(), 4096, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            piece.data[i] =
                parameter.init == Init::ones ? 1.0f
                : parameter.init == Init::zeros
                    ? 0.0f
                    : static_cast<float>(parameter.deviation * normal(seed, stream, static_cast<uint64_t>(global_index(piece, i))));
        });
    }
}

void ParamStore::to_device(Stream& stream) {
  for (const Flat& flat : units_) {
    for (const State& state : flat.state)
      if (state.host.data != state.values.data) upload(stream, state.values, state.host.data);
    if (dtype_ != DType::f32 && flat.unit.owner) cast(stream, shard_weights(flat), flat.state[0].values);
  }
  stream.synchronize();  // the host may write again
}

void ParamStore::to_host(Stream& stream) {
  for (const Flat& flat : units_)
    for (const State& state : flat.state)
      if (state.host.data != state.values.data) download(stream, state.host.data, state.values);
}

void ParamStore::publish(Stream& stream, const Groups& groups, int unit) {
  const Flat& flat = at(unit);
  if (flat.unit.tied) groups.tied.broadcast(stream, shard_weights(flat), 0);  // from the first stage
  groups.shard.all_gather(stream, flat.weights);
}

void ParamStore::zero_gradients(Stream& stream) {
  for (const Flat& flat : units_)
    for (const Parameter& parameter : flat.unit.parameters)
      if (!parameter.product) fill_zero(stream, flat.gradients.slice(parameter.begin, {parameter.local.count()}));
}

bool ParamStore::zeroes(int unit) const {
  const std::vector<Parameter>& parameters = at(unit).unit.parameters;
  return std::any_of(parameters.begin(), parameters.end(), [](const Parameter& parameter) { return !parameter.product; });
}

void ParamStore::reduce_replicated(Stream& stream, const Groups& groups, int unit) {
  const Flat& flat = at(unit);
  if (flat.unit.replicated > 0) groups.tp.all_reduce(stream, flat.gradients.slice(0, {flat.unit.replicated}), ReduceOp::sum);
  if (flat.unit.tied) groups.tied.all_reduce(stream, flat.gradients, ReduceOp::sum);
}

void ParamStore::reduce_gradients(Stream& stream, const Groups& groups, int unit) {
  const Flat& flat = at(unit);
  groups.shard.reduce_scatter(stream, flat.gradients);
  groups.replicate.all_reduce(stream, shard_gradients(flat), ReduceOp::sum);
}

void ParamStore::add_squares(Stream& stream, TensorView sum) const {
  for (const Flat& flat : units_)
    for (const Segment& segment : flat.segments)
      if (owns(flat, segment))
        sum_of_squares(stream, sum, shard_gradients(flat).slice(segment.begin, {segment.count}), square_sums_);
}

void ParamStore::update(Stream& stream, int unit, ConstTensorView control, const AdamW& adamw, double lr, double weight_decay) {
  const Flat& flat = at(unit);
  for (const Segment& segment : flat.segments) {
    const auto part = [&](const TensorView& shard) { return shard.slice(segment.begin, {segment.count}); };
    const bool decay = flat.unit.parameters[static_cast<size_t>(segment.parameter)].decay;
    adamw_update(stream, part(flat.state[0].values), part(flat.state[1].values), part(flat.state[2].values),
                 dtype_ == DType::f32 ? TensorView{} : part(shard_weights(flat)), part(shard_gradients(flat)), control, adamw, lr,
                 decay ? weight_decay : 0.0);
  }
}

std::map<std::string, uint64_t> ParamStore::weight_hashes(Stream& stream) const {
  std::map<std::string, uint64_t> hashes;
  std::vector<std::byte> copy;
  for (const Flat& flat : units_)
    for (const Parameter& parameter : flat.unit.parameters) {
      const ConstTensorView weights = flat.weights.slice(parameter.begin, {parameter.valid});
      copy.resize(static_cast<size_t>(weights.bytes()));
      download(stream, copy.data(), weights);
      hashes[parameter.name + " " + to_string(parameter.offset)] = xxh3(copy.data(), copy.size());
    }
  return hashes;
}

float* ParamStore::gradients_on_host(const Flat& flat) const {
  const TensorView gradients = shard_gradients(flat);
  return gradients.device.type == DeviceType::cpu ? gradients.as<float>() : flat.gradient_copy.get();
}

void ParamStore::copy_gradients(Stream& stream) {
  for (Flat& flat : units_) {
    const TensorView gradients = shard_gradients(flat);
    if (gradients.device.type == DeviceType::cpu) continue;
    if (flat.gradient_copy == nullptr) flat.gradient_copy = std::make_unique<float[]>(static_cast<size_t>(flat.shard_count));
    download(stream, flat.gradient_copy.get(), gradients);
  }
}

void ParamStore::scale_gradients(Stream& stream, double scale) {
  copy_gradients(stream);
  for (const Flat& flat : units_) {
    float* gradients = gradients_on_host(flat);
    for (int64_t i = 0; i < flat.shard_count; ++i) gradients[i] = static_cast<float>(gradients[i] * scale);
  }
}

ParamStore::Place ParamStore::first_non_finite(Stream& stream) {
  copy_gradients(stream);
  for (int unit = size() - 1; unit >= 0; --unit) {
    const Flat& flat = at(unit);
    const float* gradients = gradients_on_host(flat);
    for (auto segment = flat.segments.rbegin(); segment != flat.segments.rend(); ++segment)
      for (int64_t i = segment->begin; i < segment->begin + segment->count; ++i)
        if (!std::isfinite(gradients[i])) return {unit, segment->parameter};
  }
  return {};
}

}  // namespace drover
