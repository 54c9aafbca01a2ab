#include "trainer/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "kernels/base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/gemm_algorithms.h"
#include "kernels/measure.h"
#include "kernels/range.h"
#include "kernels/transfer.h"
#include "parallel/silent_groups.h"
#include "trainer/device.h"
#include "trainer/executor.h"
#include "trainer/streams.h"

namespace drover {
namespace {

using Kind = Resource::Kind;

std::vector<Batch> carve_batches(Arena& arena, const std::string& name, int64_t count, int64_t tokens) {
  std::vector<Batch> batches;
  for (int64_t i = 0; i < count; ++i) {
    const auto carve = [&](const char* what, DType dtype) {
      return arena.carve("batches", name + " " + std::to_string(i) + " " + what, dtype, {tokens});
    };
    batches.push_back({carve("token", DType::i32), carve("target", DType::i32), carve("position", DType::i32),
                       carve("document", DType::i32), carve("weight", DType::f32)});
  }
  return batches;
}

ShardPlace shard_place(const Mesh& mesh, int rank) {
  return {mesh.coordinate(rank, Axis::tp), mesh.coordinate(rank, Axis::dp_shard), mesh.size(Axis::dp_shard),
          mesh.coordinate(rank, Axis::dp_replicate)};
}

AdamW adamw_of(const OptimizerConfig& optimizer) { return {optimizer.beta1, optimizer.beta2, optimizer.eps}; }

// Everything of one rank that is carved, in one order: the plan and the run are this constructor. `host` is `arena` itself on the cpu.
struct RankMemory {
  RankMemory(Arena& arena, Arena& host, const Config& config, const Mesh& mesh, int rank, const Programs& programs)
      : units(stage_units(config, mesh, rank)), train(plan(programs.train, config, mesh, rank)),
        validate(plan(programs.validate, config, mesh, rank)),
        store(arena, host, units.units, model_shape(config, mesh, rank).dtype, shard_place(mesh, rank)),
        stage(arena, config, mesh, rank, units, store, stage_memory(config)) {
    const int64_t count = 2 * microbatches(config), tokens = stage.shape().tokens;
    train_buffers = carve_batches(host, "train", count, tokens);
    if (!config.data.validation.empty()) validation_buffers = carve_batches(host, "validation", count, tokens);
    if (&host != &arena) device_buffers = carve_batches(arena, "step", count / 2, tokens);
    if (&host != &arena && config.run.cuda_graphs)
      in_flight = carve_batches(arena, "in flight", stage_memory(config).activations, tokens);
    control = arena.carve("optimizer", "control", DType::f64, {control_slots});
  }

  BufferPlan plan(const std::vector<Program>& programs, const Config& config, const Mesh& mesh, int rank) const {
    return plan_buffers(programs[static_cast<size_t>(mesh.coordinate(rank, Axis::pp))], static_cast<int>(microbatches(config)),
                        units.executed, units.first, units.last);
  }
  StageMemory stage_memory(const Config& config) const {
    return {std::max(train.activations, validate.activations), std::max(train.inputs, validate.inputs),
            std::max(train.gradients, validate.gradients), std::max(train.outputs, validate.outputs),
            config.train.recompute == Recompute::block};
  }

  StageUnits units;
  BufferPlan train, validate;
  ParamStore store;
  Stage stage;
  std::vector<Batch> train_buffers, validation_buffers;
  std::vector<Batch> device_buffers;  // of the step under way, where the host's are elsewhere
  std::vector<Batch> in_flight;       // Executor
  TensorView control;
};

bool computes_first_microbatch(const Action& action) { return computes(action.op) && action.microbatch == 0; }

// Memory that a rank's device and, where that is another, its host need.
struct MeasuredMemory {
  Arena arena, host;
};

MeasuredMemory measure(const Config& config, const Mesh& mesh, int rank, const Programs& programs, DeviceType device) {
  MeasuredMemory measured{Arena(Device{device, 0}), Arena()};
  RankMemory memory(measured.arena, device == DeviceType::cpu ? measured.arena : measured.host, config, mesh, rank, programs);
  return measured;
}

}  // namespace

Arena measure_memory(const Config& config, const Mesh& mesh, int rank, const Programs& programs) {
  return measure(config, mesh, rank, programs, device_type(config)).arena;
}

struct Engine::Impl {
  Impl(const Config& run_config, const Mesh& run_mesh, int rank, const Groups& run_groups, Device device)
      : config(run_config), mesh(run_mesh), groups(run_groups), programs(make_programs(config, mesh)), streams(device),
        stream(streams.compute()), measured(measure(config, mesh, rank, programs, device.type)),
        arena(measured.arena.used(), device), host(measured.host.used(), Device{}, device.type == DeviceType::cuda),
        memory(arena, device.type == DeviceType::cpu ? arena : host, config, mesh, rank, programs),
        executor(streams, groups, memory.stage, memory.store, memory.in_flight),
        stage_index(static_cast<size_t>(mesh.coordinate(rank, Axis::pp))) {
    arena.freeze();
    host.freeze();
    memory.stage.fill_tables(stream, config.model);
    for (int unit = 0; unit < memory.store.size(); ++unit) {
      if (memory.store.zeroes(unit)) gradients_zeroed.push_back({{Kind::weight_gradients, unit}, true});
      if (memory.store.unit(unit).owner) gradients_read.push_back({{Kind::weight_gradients, unit}, false});
      weights_read.push_back({{Kind::weights, unit}, false});
      weights_written.push_back({{Kind::weights, unit}, true});
    }
  }

  // The micro-batches where the ops read them.
  const std::vector<Batch>& on_device(const std::vector<Batch>& batches) {
    if (memory.device_buffers.empty()) return batches;
    for (size_t i = 0; i < batches.size(); ++i)
      streams.run(Purpose::copies, {{{Kind::batch, static_cast<int>(i)}, true}}, [&](Stream& copies) {
        for (const auto member : {&Batch::token, &Batch::target, &Batch::position, &Batch::document_begin, &Batch::weight})
          upload(copies, memory.device_buffers[i].*member, (batches[i].*member).data);
      });
    return memory.device_buffers;
  }

  void update(double lr) {
    const Range range(stream, "update");
    for (int unit = 0; unit < memory.store.size(); ++unit)
      if (memory.store.unit(unit).owner)
        streams.run(Purpose::compute, {{{Kind::weights, unit}, true}}, [&](Stream& compute) {
          memory.store.update(compute, unit, memory.control, adamw_of(config.optimizer), lr, config.optimizer.weight_decay);
        });
  }

  // Of each unit behind its own update only, and before its own next forward: the others overlap.
  void publish() {
    const Range range(stream, "publish");
    for (int unit = 0; unit < memory.store.size(); ++unit)
      if (memory.store.publishes(groups, unit))
        streams.run(Purpose::reductions, {{{Kind::weights, unit}, memory.store.publish_writes(groups, unit)}},
                    [&](Stream& reductions) { memory.store.publish(reductions, groups, unit); });
  }

  // By going through the first micro-batch's computation, which has all of a step's shapes (an evaluation has no others), without
  // multiplying and without the other ranks.
  std::vector<GemmCall> products() {
    Program first;
    std::copy_if(programs.train[stage_index].begin(), programs.train[stage_index].end(), std::back_inserter(first),
                 computes_first_microbatch);
    const NotedProducts noted(stream);
    SilentGroups silent(groups);
    Executor(streams, silent.groups(), memory.stage, memory.store, {}).run(first, memory.train, memory.device_buffers, true);
    std::vector<GemmCall> products;
    std::set<GemmShape> seen;
    std::copy_if(noted.calls().begin(), noted.calls().end(), std::back_inserter(products),
                 [&](const GemmCall& call) { return seen.insert(shape_of(call)).second; });
    return products;
  }

  // Values of the step's end on the host, which waits for all that the compute stream has waited for.
  void read(double* to, TensorView from) {
    download(stream, to, from);
    streams.settled(Purpose::compute);
  }

  void start_sums() {
    const double zero[step_sums] = {};
    upload(stream, memory.stage.sums(), zero);
  }

  // Sums of a step over the world, as one all-reduce; the requests ride along. What was asked for within a step counts after it.
  void reduce_sums(const StepRequest& request) {
    const bool stop = request.stop && request.stop();
    const double requests[] = {stop ? 1.0 : 0, request.no_data ? 1.0 : 0, request.late_data ? 1.0 : 0};
    static_assert(no_data == stop_requests + 1 && late_data == stop_requests + 2);
    upload(stream, memory.stage.sums().slice(stop_requests, {3}), requests);
    groups.world.all_reduce(stream, memory.stage.sums(), ReduceOp::sum);
  }

  Config config;
  Mesh mesh;
  Groups groups;
  Programs programs;
  Streams streams;
  Stream& stream;  // of `streams`, for compute
  MeasuredMemory measured;
  Arena arena, host;
  RankMemory memory;
  Executor executor;
  size_t stage_index;
  std::vector<Access> weights_read, weights_written;  // of all units
  std::vector<Access> gradients_zeroed;               // of those with gradients that are added to from the first
  std::vector<Access> gradients_read;                 // of those that this rank updates
  double last_weight = 0;
};

Engine::Engine(const Config& config, const Mesh& mesh, int rank, const Groups& groups, Device device)
    : impl_(std::make_unique<Impl>(config, mesh, rank, groups, device)) {}
Engine::~Engine() = default;

void Engine::initialize() {
  impl_->memory.store.initialize(static_cast<uint64_t>(impl_->config.train.seed));
  publish();
}

void Engine::publish() {
  impl_->streams.run(Purpose::compute, impl_->weights_written, [&](Stream& stream) { impl_->memory.store.to_device(stream); });
  impl_->publish();
}

const std::vector<Batch>& Engine::train_buffers() const { return impl_->memory.train_buffers; }
const std::vector<Batch>& Engine::validation_buffers() const { return impl_->memory.validation_buffers; }

StepResult Engine::step(int64_t step, const std::vector<Batch>& batches, const StepRequest& request) {
  Impl& self = *impl_;
  RankMemory& memory = self.memory;
  const OptimizerConfig& optimizer = self.config.optimizer;
  const double lr = learning_rate(optimizer, self.config.train.steps, step);

  self.start_sums();
  self.streams.run(Purpose::compute, self.gradients_zeroed, [&](Stream& stream) { memory.store.zero_gradients(stream); });
  self.executor.run(self.programs.train[self.stage_index], memory.train, self.on_device(batches), true);
  self.streams.run(Purpose::compute, self.gradients_read, [&](Stream& stream) {
    memory.store.add_squares(stream, memory.stage.sums().slice(squared_norm, {1}));
    self.reduce_sums(request);
    prepare_update(stream, memory.control, memory.stage.sums(), adamw_of(optimizer), optimizer.clip);
  });
  self.update(lr);
  self.publish();

  double sums[step_sums], control[control_slots];
  self.read(sums, memory.stage.sums());
  self.read(control, memory.control);
  const int64_t waiting = static_cast<int64_t>(sums[no_data]);
  self.last_weight = waiting > 0 ? 0 : sums[weight_sum];
  return {.loss = sums[weight_sum] == 0 ? 0 : sums[loss_sum] / sums[weight_sum],
          .grad_norm = control[control_norm],
          .weight = sums[weight_sum],
          .lr = lr,
          .skipped = control[control_skip] != 0 && waiting == 0,
          .stop = sums[stop_requests] != 0,
          .waiting = waiting,
          .late = static_cast<int64_t>(sums[late_data])};
}

EvaluationResult Engine::evaluate(const std::vector<Batch>& batches, const StepRequest& request) {
  Impl& self = *impl_;
  self.start_sums();
  self.executor.run(self.programs.validate[self.stage_index], self.memory.validate, self.on_device(batches), false);
  self.reduce_sums(request);
  double sums[step_sums];
  self.read(sums, self.memory.stage.sums());
  return {sums[loss_sum], sums[weight_sum], sums[stop_requests] != 0, static_cast<int64_t>(sums[no_data])};
}

std::vector<Piece> Engine::owned_pieces(bool gradients) {
  const bool have = gradients && impl_->last_weight > 0;
  if (have) {
    impl_->memory.store.scale_gradients(impl_->stream, 1.0 / impl_->last_weight);
    impl_->last_weight = 0;  // scaled once: the next step makes them anew
  }
  impl_->memory.store.to_host(impl_->stream);
  return impl_->memory.store.pieces(true, have);
}

std::vector<Piece> Engine::held_pieces() {
  impl_->memory.store.to_host(impl_->stream);
  return impl_->memory.store.pieces(false, false);
}

std::map<std::string, uint64_t> Engine::weight_hashes() const {
  std::map<std::string, uint64_t> hashes;
  impl_->streams.run(Purpose::compute, impl_->weights_read,
                     [&](Stream& stream) { hashes = impl_->memory.store.weight_hashes(stream); });
  return hashes;
}

int64_t Engine::applied() const {
  double control[control_slots];
  download(impl_->stream, control, impl_->memory.control);
  return static_cast<int64_t>(control[control_applied]);
}

void Engine::set_applied(int64_t updates) {
  double control[control_slots] = {};
  control[control_applied] = static_cast<double>(updates);
  upload(impl_->stream, impl_->memory.control, control);
}

std::string Engine::first_bad_tensor() {
  ParamStore& store = impl_->memory.store;
  const ParamStore::Place bad = store.first_non_finite(impl_->stream);
  // Sorted as text: the stage, unit and parameter that the backward pass comes to first is the largest.
  std::string mine;
  if (bad.unit >= 0)
    mine = fmt::format("{:05} {:06} {:02} {}", impl_->stage_index, bad.unit, bad.parameter,
                       store.unit(bad.unit).parameters[static_cast<size_t>(bad.parameter)].name);
  const std::vector<std::string> all = impl_->groups.world.gather_text(mine);
  const std::string& first = *std::max_element(all.begin(), all.end());
  return first.empty() ? "the loss" : first.substr(first.rfind(' ') + 1);
}

std::vector<float> Engine::logits(const std::vector<Batch>& batches, int64_t token) {
  Impl& self = *impl_;
  self.start_sums();
  self.executor.run(self.programs.validate[self.stage_index], self.memory.validate, self.on_device(batches), false);
  const TensorView row = self.memory.stage.logits(self.stream, self.groups, token);
  std::vector<float> values(static_cast<size_t>(self.config.model.vocab));
  if (row.dtype == DType::f32) {
    download(self.stream, values.data(), row.slice(0, {self.config.model.vocab}));
  } else {
    std::vector<Bf16> narrow(values.size());
    download(self.stream, narrow.data(), row.slice(0, {self.config.model.vocab}));
    std::transform(narrow.begin(), narrow.end(), values.begin(), [](Bf16 value) { return static_cast<float>(value); });
  }
  return values;
}

void Engine::choose_algorithms(const std::function<void(const std::vector<GemmCall>&)>& choose) {
  Impl& self = *impl_;
  const std::vector<GemmCall> products = self.products();
  // As bf16; two of them side by side are such a number as f32, too.
  const TensorView whole = self.arena.whole();
  fill_random(self.stream, {whole.data, DType::bf16, whole.device, {whole.bytes() / size_of(DType::bf16)}}, 0);
  choose(products);
  fill_zero(self.stream, whole);
  self.memory.stage.fill_tables(self.stream, self.config.model);
  self.stream.synchronize();  // other streams' first work names no tensor that it would have to wait for
  self.stream.reset_totals();
}

const Arena& Engine::memory() const { return impl_->arena; }
const std::vector<Program>& Engine::programs() const { return impl_->programs.train; }
Stream& Engine::stream() { return impl_->stream; }
void Engine::log_actions(std::function<void(const Action&)> sink) { impl_->executor.log_actions(std::move(sink)); }

}  // namespace drover
