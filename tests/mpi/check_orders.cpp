// Run on the ranks of a layout: training on GPUs that the cpu plays, while the streams of every rank go on in random orders.
//
//   check_orders DP TP PP orders N   every order of twenty steps gives the weights of the first one, to the bit
//   check_orders DP TP PP waits N    a step without any one of its waits is noticed within N orders, on some rank
//   check_orders DP TP PP graphs N   by CUDA graphs N orders of ten steps with validations, with recompute and without, give the bits
//                                    and costs of one order without; they are not larger than the plan says, nor outlive their engine
//   check_orders DP TP PP poison     with recompute and without, a step whose memory is NaN wherever nobody may read it any more gives the same
//                                    bits (poison.h)
//   check_orders DP TP PP counts [graphs]  what the host asks of the GPU in a step
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#include "kernels/base/hash.h"
#include "kernels/base/threads.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/world.h"
#include "tests/mpi/poison.h"
#include "tests/simt/simt.h"
#include "tests/simt/streams.h"
#include "tests/trainer/testing.h"
#include "trainer/graph_memory.h"
#include "trainer/model/shape.h"
#include "trainer/model/units.h"

namespace {

using namespace drover;

constexpr int kSteps = 3, kStepsOfAnOrder = 20, kStepsByGraphs = 10;
constexpr int kStepsBeforeGraphs = 2;  // which all actions have come twice after
constexpr int kStepsOfAValidation = 3;

Config config_for(char** layout) {
  Config config = testing::small_config();
  config.run.device = "cuda";
  config.precision.compute = Precision::bf16;
  config.model.layers = 2;
  config.train.global_batch = 4 * std::atoi(layout[0]);
  config.train.micro_batch = 1;
  config.parallel.dp = std::atoi(layout[0]);
  config.parallel.tp = std::atoi(layout[1]);
  config.parallel.pp = std::atoi(layout[2]);
  config.model.tied_embeddings = config.parallel.pp > 1;
  return config;
}

std::vector<Batch> first_half(const std::vector<Batch>& buffers) {
  return {buffers.begin(), buffers.begin() + static_cast<std::ptrdiff_t>(buffers.size() / 2)};
}

// But for copies, which graphs make some of.
std::string costs(const Stream& stream) {
  std::string text;
  for (size_t kind = 0; kind < static_cast<size_t>(OpKind::count); ++kind) {
    const OpTotals& op = stream.totals(static_cast<OpKind>(kind));
    const bool copies = static_cast<OpKind>(kind) == OpKind::elementwise;
    text += fmt::format("{} {} {} ", op.flops, copies ? 0 : op.calls, copies ? 0 : op.bytes);
  }
  return text;
}

class Training {
 public:
  // With validations where the configuration has data for them.
  Training(const Config& config, World& world, int steps)
      : config_(config), steps_(steps), world_(world), mesh_(config.parallel), device_{DeviceType::cuda, world.rank()},
        set_(world, mesh_, config.model.tied_embeddings, {.device = device_, .nccl = nccl::linked()}) {}

  Config& config() { return config_; }  // of the next runs; the layout stays as it was
  void poison(bool poisoned) { poisoned_ = poisoned; }

  // A hash of all ranks' weights, losses and costs after some steps in one order. `without`: of the waits of the last step but one on one
  // rank; 0: none.
  std::string run(uint64_t order, int64_t without = 0, int on_rank = 0) {
    simt::set_stream_seed(order * 64 + static_cast<uint64_t>(world_.rank()));
    Engine engine(config_, mesh_, world_.rank(), set_.groups(), device_);
    engine.initialize();
    const std::vector<Batch>& buffers = engine.train_buffers();
    testing::fill_batches(buffers, config_.train.sequence, static_cast<uint64_t>(mesh_.dp_coordinate(world_.rank())));
    testing::fill_batches(engine.validation_buffers(), config_.train.sequence, 100);
    std::optional<testing::Poison> poison;
    if (poisoned_) {
      const Program& program = engine.programs()[static_cast<size_t>(mesh_.coordinate(world_.rank(), Axis::pp))];
      const StageUnits units = stage_units(config_, mesh_, world_.rank());
      poison.emplace(engine, program,
                     plan_buffers(program, static_cast<int>(microbatches(config_)), units.executed, units.first, units.last));
      engine.log_actions([&](const Action&) { poison->before_next_action(); });
    }
    const auto half = static_cast<std::ptrdiff_t>(buffers.size() / 2);
    std::string text;
    for (int step = 1; step <= steps_; ++step) {
      const bool last_but_one = step == steps_ - 1;
      if (last_but_one && without > 0 && on_rank == world_.rank()) simt::leave_out_wait(without);
      if (last_but_one) before_ = simt::counts();
      const auto first = buffers.begin() + (step % 2 == 0 ? half : 0);
      const StepResult result = engine.step(step, std::vector<Batch>(first, first + half));
      if (last_but_one) after_ = simt::counts();
      text += fmt::format("{:.17g} {:.17g} ", result.loss, result.grad_norm);
      if (!engine.validation_buffers().empty() && step % kStepsOfAValidation == 0)
        text += fmt::format("{:.17g} ", engine.evaluate(first_half(engine.validation_buffers())).loss_sum);
    }
    text += costs(engine.stream());
    nodes_ = simt::live_nodes();
    for (const auto& [name, hash] : engine.weight_hashes()) text += " " + std::to_string(hash);
    simt::drain_all();  // a GPU goes on while its host waits for other hosts; the stand-in does not
    std::string all;
    for (const std::string& each : world_.all().gather_text(text)) all += each + "\n";
    return std::to_string(xxh3(all));
  }

  int64_t graph_nodes() const { return nodes_; }  // of the last run
  bool within_estimate() const { return nodes_ <= drover::graph_nodes(config_, mesh_); }

  simt::Counts of_a_step() const {
    return {after_.launches - before_.launches,
            after_.copies - before_.copies,
            after_.records - before_.records,
            after_.waits - before_.waits,
            after_.synchronizations - before_.synchronizations,
            after_.graph_launches - before_.graph_launches};
  }

 private:
  Config config_;
  int steps_;
  World& world_;
  Mesh mesh_;
  Device device_;
  GroupSet set_;
  simt::Counts before_, after_;
  int64_t nodes_ = 0;
  bool poisoned_ = false;
};

int check_orders(Training& training, int orders, bool speaks) {
  const std::string wanted = training.run(0);
  int different = 0;
  for (int order = 1; order < orders; ++order) different += training.run(static_cast<uint64_t>(order)) != wanted;
  if (speaks) std::printf("%d orders, %d differ from the first\n", orders, different);
  return different > 0;
}

int check_graphs(Training& training, World& world, int orders) {
  int different = 0, runs = 0;
  int64_t wrong = 0;  // graphs that are left, and ranks with more nodes than expected or none
  for (const Recompute recompute : {Recompute::none, Recompute::block}) {
    training.config().train.recompute = recompute;
    training.config().run.cuda_graphs = false;
    const std::string wanted = training.run(0);
    training.config().run.cuda_graphs = true;
    for (int order = 0; order < orders; ++order, ++runs) different += training.run(static_cast<uint64_t>(order)) != wanted;
    const bool expected = training.graph_nodes() > 0 && training.within_estimate();
    for (const std::string& text : world.all().gather_text(std::to_string(simt::live_graphs() + (expected ? 0 : 1))))
      wrong += std::stoll(text);
  }
  if (world.rank() == 0)
    std::printf("%d runs by graphs, %d differ from those without; %lld graphs left or not as expected\n", runs, different,
                static_cast<long long>(wrong));
  return different > 0 || wrong > 0;
}

int check_poison(Training& training, bool speaks) {
  int different = 0;
  for (const Recompute recompute : {Recompute::none, Recompute::block}) {
    training.config().train.recompute = recompute;
    training.poison(false);
    const std::string wanted = training.run(0);
    training.poison(true);
    different += training.run(0) != wanted;
  }
  if (speaks) std::printf("2 poisoned runs, %d differ\n", different);
  return different > 0;
}

int check_waits(Training& training, World& world, int orders) {
  const std::string wanted = training.run(0);
  std::vector<int64_t> waits;
  for (const std::string& text : world.all().gather_text(std::to_string(training.of_a_step().waits)))
    waits.push_back(std::stoll(text));
  int64_t all = 0, unnoticed = 0;
  for (int rank = 0; rank < world.size(); ++rank)
    for (int64_t wait = 1; wait <= waits[static_cast<size_t>(rank)]; ++wait) {
      bool noticed = false;
      for (int order = 1; order <= orders && !noticed; ++order)
        noticed = training.run(static_cast<uint64_t>(order), wait, rank) != wanted;
      ++all;
      unnoticed += !noticed;
      if (!noticed && world.rank() == 0)
        std::printf("rank %d: nothing notices that wait %lld is missing\n", rank, static_cast<long long>(wait));
    }
  if (world.rank() == 0)
    std::printf("%lld waits, %lld of them for nothing\n", static_cast<long long>(all), static_cast<long long>(unnoticed));
  return unnoticed > 0;
}

void print_counts(Training& training, World& world) {
  training.run(0);
  const simt::Counts step = training.of_a_step();
  const std::string text =
      fmt::format("{} launches, {} launches of graphs, {} copies, {} records, {} waits, {} synchronizations", step.launches,
                  step.graph_launches, step.copies, step.records, step.waits, step.synchronizations);
  int rank = 0;
  for (const std::string& each : world.all().gather_text(text))
    if (world.rank() == 0) std::printf("rank %d: %s\n", rank++, each.c_str());
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  set_threads(1);
  World world(launcher_view());
  const std::string mode = arguments[4], last = arguments[count - 1];
  const int orders = count > 5 ? std::atoi(arguments[5]) : 1;
  Config config = config_for(arguments + 1);
  if (mode == "orders") {
    Training training(config, world, kStepsOfAnOrder);
    return check_orders(training, orders, world.rank() == 0);
  }
  if (mode == "graphs") {
    config.data.validation = {"validation"};
    Training training(config, world, kStepsByGraphs);
    return check_graphs(training, world, orders);
  }
  if (mode == "poison") {
    Training training(config, world, kSteps);
    return check_poison(training, world.rank() == 0);
  }
  config.run.cuda_graphs = last == "graphs";
  Training training(config, world, config.run.cuda_graphs ? kSteps + kStepsBeforeGraphs : kSteps);
  if (mode == "waits") return check_waits(training, world, orders);
  print_counts(training, world);
  return 0;
}
