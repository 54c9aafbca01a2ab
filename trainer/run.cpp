#include "trainer/run.h"
#include "kernels/base/seconds.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "data/kept_tokenizer.h"
#include "data/shard_check.h"
#include "kernels/base/threads.h"
#include "kernels/base/words.h"
#include "kernels/measure.h"
#include "trainer/begun.h"
#include "trainer/build_info.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/console.h"
#include "trainer/counters.h"
#include "trainer/data_wait.h"
#include "trainer/engine.h"
#include "trainer/equal_ranks.h"
#include "trainer/failure.h"
#include "trainer/memory_limit.h"
#include "trainer/memory_report.h"
#include "trainer/memory_table.h"
#include "trainer/metrics.h"
#include "trainer/model/shape.h"
#include "trainer/process_memory.h"
#include "trainer/resume.h"
#include "trainer/run_directory.h"
#include "trainer/time_split.h"
#include "trainer/timed_products.h"
#include "trainer/validation.h"

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSpentEvery = 10;  // seconds between two rows of where the time went, at least
constexpr double kNoticed = 0.01;   // of a step: a wait for data that all ranks hear of

// From a start to the end, or to where a phase of another sequence begins: all memory is planned for one.
class Run {
 public:
  explicit Run(Begun& begun)
      : begun_(begun), request_(begun.request), prepared_(begun.prepared), config_(at_sequence(prepared_.config, begun.sequence())),
        world_(begun.world), watch_(begun.watch), signals_(begun.signals), history_(begun.history), mesh_(config_.parallel),
        device_(begun.choice.device), lines_(begun.choice.lines),
        groups_(
            world_, mesh_, config_.model.tied_embeddings,
            {device_, config_.run.communication == "nccl", [this](const std::string& what) { watch_.communicator_failed(what); }}),
        store_(begun.store), resident_before_(current_resident_bytes()),
        engine_(config_, mesh_, world_.rank(), groups_.groups(), device_), split_(engine_.stream(), groups_.groups()),
        console_(world_.rank() == 0, config_.run.dir, config_.train.steps, flops_per_token(config_.model, config_.train.sequence),
                 gemm_rate()),
        wait_(signals_, console_, world_.size()) {
    if (prepared_.validation) validation_.emplace(config_, mesh_, world_.all(), world_.rank(), engine_, prepared_.loss_weights);
  }

  // The exit code; none where a phase of another sequence begins: all is saved.
  std::optional<int> run() {
    announce();
    const bool fresh = !start();
    if (first())
      history_.started(describe_start(state_, prepared_.config, world_.size(), loaded_from_,
                                      prepared_.directory ? prepared_.directory->config() : ""));
    if (world_.rank() == 0) {
      prepared_.directory->write_config(to_yaml(prepared_.config));
      pass_on_tokenizer(source_directories(prepared_.config.data), prepared_.config.run.dir);
      prepared_.directory->write_products(state_.products);
      metrics_ = std::make_unique<Metrics>(prepared_.directory->metrics(), state_.step);
    }
    world_.all().barrier();
    split_.pass(TimeSplit::Part::start);
    if (fresh && config_.checkpoint.every > 0) save();
    if (!fresh && missed_validation() && validate()) return finish(stop());
    const std::optional<int> code = loop();
    return code ? finish(*code) : code;
  }

  // A read of the loaders is under way, and may never end: joining their threads may hang.
  bool reading() {
    return (train_loader_ && train_loader_->reading()) || (validation_ && validation_->reading()) ||
           (shard_check_ && !shard_check_->stop(DataWait::kPatience));
  }
  void clear_screen() { console_.clear_bar(); }
  int64_t step() const { return state_.step; }

 private:
  bool first() const { return begun_.first_step < 0; }  // of this process's runs

  // All ranks measure at once, because they will compute at once.
  double gemm_rate() {
    world_.all().barrier();
    const double mine =
        measure_gemm_rate(engine_.stream(), config_.precision.compute == Precision::bf16 ? DType::bf16 : DType::f32);
    engine_.stream().reset_totals();
    double sum = 0;
    for (const std::string& text : world_.all().gather_text(fmt::format("{}", mine))) sum += std::stod(text);
    gemm_rate_ = sum;
    return sum;
  }

  void announce() {
    const WorstRank worst = worst_rank(config_, mesh_);
    if (first())
      for (const std::string& warning : {prepared_.warning, watch_.warning()})
        if (!warning.empty()) console_.line(warning);
    console_.line(batch_arithmetic(config_, mesh_));
    console_.line(memory_table(worst.memory, bytes_outside_arenas(config_, mesh_),
                               fmt::format("memory of the worst rank, {}", mesh_.describe(worst.rank))));
    console_.line(fmt::format("{:<7} {}, {:.0f} GFLOP/s in matrix products on all ranks; {}", config_.run.device,
                              describe(device_, config_.run.threads), gemm_rate_ / 1e9, build_id()));
    for (const std::string& line : lines_) console_.line(line);
    console_.line(mixture_table(prepared_.config, *prepared_.train));
  }

  // True when a checkpoint was loaded.
  bool start() {
    state_ = begun_.state();
    const std::optional<CheckpointInfo>& found = begun_.checkpoint;
    for (const std::string& text : begun_.found) console_.line(text);
    if (found)
      for (const std::string& text : compare_with_checkpoint(*found, state_, prepared_.config)) console_.line(text);
    if (device_.type == DeviceType::cuda) choose_algorithms(found);
    if (!found) {
      engine_.initialize();
      store_.set_aside_after(-1);
      return false;
    }
    store_.load(*found, engine_.held_pieces());
    engine_.publish();
    engine_.set_applied(found->state.applied);
    state_.step = found->state.step;
    state_.applied = found->state.applied;
    state_.samples_consumed = found->state.samples_consumed;
    state_.skipped = found->state.skipped;
    state_.tokens = found->state.tokens;
    if (state_.tokens == 0) state_.tokens = state_.samples_consumed * config_.train.sequence;  // saved before they were counted
    state_.skipped_in_row = found->state.skipped_in_row;
    loaded_from_ = *found;
    store_.set_aside_after(state_.step);
    watch_.after_step(state_.step);
    console_.line(fmt::format("resumed from {} at step {}", found->path.string(), state_.step));
    return true;
  }

  void choose_algorithms(const std::optional<CheckpointInfo>& found) {
    const ChosenProducts chosen = choose_products(world_.all(), engine_, device_, config_.run.timed_products,
                                                  found ? std::optional(found->state.products) : std::nullopt);
    for (const std::string& text : chosen.lines) console_.line(text);
    state_.products = chosen.json;
  }

  std::optional<int> loop() {
    train_loader_ = std::make_unique<Loader>(
        *prepared_.train, loader_options(config_, mesh_, world_.rank(), prepared_.loss_weights, true), engine_.train_buffers());
    const Clock::time_point begin = Clock::now();
    const int64_t first_step = state_.step;
    if (first()) begun_.first_step = first_step, begun_.begin = begin;
    while (state_.step < config_.train.steps) {
      const Clock::time_point step_begin = Clock::now();
      double waited = 0;  // for data, in this step
      const StepResult result =
          wait_.with_data(*train_loader_, state_.samples_consumed, state_.step, [&](const auto& batches, StepRequest request) {
            split_.pass(TimeSplit::Part::data);  // an attempt that was thrown away before, too
            waited = seconds_since(step_begin);
            request.late_data = waited > kNoticed * last_seconds_;
            if (request_.log_actions && state_.step == begun_.first_step) log_first_step();
            return engine_.step(state_.step + 1, batches, request);
          });
      if (result.waiting > 0) {
        split_.pass(TimeSplit::Part::data);
        save();
        return stop();
      }
      split_.step();
      engine_.log_actions(nullptr);
      watch_.after_step(++state_.step);
      const int64_t consumed = state_.samples_consumed;
      state_.samples_consumed = begun_.order().after_step(consumed, config_.train.global_batch);
      check_shards();
      if (result.late > 0) waited = longest_on_all_ranks(waited);
      last_seconds_ = seconds_since(step_begin);
      record(result, begun_.order().trained_tokens(consumed, state_.samples_consumed), last_seconds_, waited,
             seconds_since(begin) / static_cast<double>(state_.step - first_step));
      const bool last = state_.step == config_.train.steps, other = !last && next_sequence() != config_.train.sequence;
      bool stopping = result.stop;
      if (validation_due() && !stopping) stopping = validate();
      if (stopping || last || other || (config_.checkpoint.every > 0 && state_.step % config_.checkpoint.every == 0)) save();
      if (stopping && !(last && !prepared_.validation)) return stop();
      if (other) return go_on();
    }
    console_.line(memory_report(world_.all(), config_, mesh_, device_, engine_.memory().used(), resident_before_));
    if (request_.log_actions)
      write_counters(config_.run.dir, world_.rank(), engine_, store_, peak_resident_bytes() - resident_before_);
    if (state_.step == begun_.first_step)
      console_.line(fmt::format("nothing to train: the checkpoint is of step {}, train.steps is {}; --set train.steps=N goes on",
                                state_.step, config_.train.steps));
    else
      console_.line(
          fmt::format("done: {} steps in {}", state_.step - begun_.first_step, duration_text(seconds_since(begun_.begin))));
    return static_cast<int>(ExitCode::done);
  }

  // Ranks without a delay wait for those with one.
  double longest_on_all_ranks(double seconds) {
    Stream stream;
    world_.all().all_reduce(stream, {reinterpret_cast<std::byte*>(&seconds), DType::f64, {}, {1}}, ReduceOp::max);
    return seconds;
  }

  // From the first step on: its batches are there, and the file system is free for a while. Throws what was found.
  void check_shards() {
    if (!shard_check_) {
      std::vector<std::string> directories = source_directories(config_.data);
      directories.insert(directories.end(), config_.data.validation.begin(), config_.data.validation.end());
      shard_check_ = std::make_unique<ShardCheck>(directories, world_.rank(), world_.size(), ShardCheck::Pace{});
    }
    shard_check_->rethrow();
  }

  int64_t next_sequence() const {
    const SampleOrder& order = begun_.order();
    return order.sequence_at(order.nth(state_.samples_consumed, 0));
  }

  // As a resume from what was just saved would, with memory planned anew.
  std::optional<int> go_on() {
    console_.line(fmt::format("step {}: {} tokens a sequence from here on, {} before: saved, and loaded again", state_.step,
                              next_sequence(), config_.train.sequence));
    begun_.checkpoint = store_.verified(std::filesystem::path(config_.run.dir) / "checkpoints" / step_directory_name(state_.step));
    begun_.found.clear();
    return std::nullopt;
  }

  // `trained`: tokens of the step.
  void record(const StepResult& result, int64_t trained, double seconds, double waited, double average) {
    state_.tokens += trained;
    state_.skipped += result.skipped;
    if (result.weight != 0) state_.skipped_in_row = result.skipped ? state_.skipped_in_row + 1 : 0;
    state_.applied = engine_.applied();
    const double step_tokens = static_cast<double>(config_.train.global_batch * config_.train.sequence);
    if (metrics_)
      metrics_->step(state_.step, result, state_.tokens, seconds, static_cast<double>(trained) / seconds, waited / seconds);
    history_.reached(state_.step);
    split_.pass(TimeSplit::Part::other);
    if (seconds_since(last_spent_) >= kSpentEvery) write_spent();
    console_.step(state_.step, result, step_tokens / average, average * static_cast<double>(config_.train.steps - state_.step),
                  waited / seconds, state_.step % config_.run.log_every == 0 || state_.step == config_.train.steps);
    if (state_.skipped_in_row <= config_.train.max_skipped) return;
    const std::string name = engine_.first_bad_tensor();
    throw Error(ExitCode::never_requeue,
                fmt::format("step {}: {} steps in a row were not finite (train.max_skipped is {}); the "
                            "first bad gradient is of {}. The weights are those of "
                            "the last step before them; a lower optimizer.lr or an earlier checkpoint may help",
                            state_.step, state_.skipped_in_row, config_.train.max_skipped, name));
  }

  // True when a stop was asked for meanwhile: the loss is then not recorded, and made again after the resume.
  bool validate() {
    if (!validation_) return false;
    const std::optional<ValidationResult> result = validation_->run([this](Loader& loader, int64_t consumed, const auto& evaluate) {
      return wait_.with_data(loader, consumed, state_.step, evaluate);
    });
    split_.pass(TimeSplit::Part::validation);
    if (!result) return true;
    if (metrics_) metrics_->validation(state_.step, *result);
    console_.line(fmt::format("step {}: {}", state_.step, describe(*result)));
    return false;
  }

  bool validation_due() const {
    const int64_t every = config_.train.validate_every;
    return state_.step > 0 && (state_.step == config_.train.steps || (every > 0 && state_.step % every == 0));
  }
  bool missed_validation() {
    const bool missing = validation_due() && prepared_.validation && prepared_.directory &&
                         !has_validation(prepared_.directory->metrics(), state_.step);
    return world_.all().gather_text(missing ? "1" : "0").front() == "1";
  }

  void save() {
    if (metrics_) metrics_->sync();
    store_.save(state_, engine_.owned_pieces(config_.checkpoint.gradients), config_.checkpoint.keep);
    history_.saved();
    split_.pass(TimeSplit::Part::checkpoint);
    write_spent();
  }

  void write_spent() {
    history_.spent(split_.take());
    last_spent_ = Clock::now();
  }

  int finish(int code) {
    history_.ended(static_cast<ExitCode>(code), split_.take());
    return code;
  }

  int stop() {
    console_.line(
        fmt::format("stopped by a signal after step {}; saved. `drover resume {}` continues", state_.step, config_.run.dir));
    return static_cast<int>(ExitCode::requeue);
  }

  void log_first_step() {
    auto file = std::make_shared<std::string>();
    const auto path = std::filesystem::path(config_.run.dir) / fmt::format("actions_rank_{}.txt", world_.rank());
    engine_.log_actions([file, path](const Action& action) {
      *file += to_string(action) + "\n";
      write_durably(path, *file);
    });
  }

  Begun& begun_;
  const TrainRequest& request_;
  Prepared& prepared_;
  const Config config_;  // of the phases of one sequence
  World& world_;
  Watch& watch_;
  const StopSignals& signals_;
  History& history_;
  Mesh mesh_;
  Device device_;
  std::vector<std::string> lines_;  // of DeviceChoice
  GroupSet groups_;
  CheckpointStore& store_;
  int64_t resident_before_;
  Engine engine_;
  TimeSplit split_;
  Clock::time_point last_spent_ = Clock::now();
  double last_seconds_ = 0;  // of the step before
  double gemm_rate_ = 0;
  Console console_;
  std::unique_ptr<Metrics> metrics_;
  std::optional<CheckpointInfo> loaded_from_;
  std::optional<Validation> validation_;
  std::unique_ptr<Loader> train_loader_;
  std::unique_ptr<ShardCheck> shard_check_;
  DataWait wait_;
  RunState state_;
};

}  // namespace

int run_training(const TrainRequest& request, const LauncherView& view) {
  StopSignals signals;
  Prepared prepared = prepare_run(request, view);
  set_threads(static_cast<int>(prepared.config.run.threads));
  History history(prepared.config.run.dir, view.rank == 0);
  std::optional<Watch> watch;  // outlives the world, whose end is a barrier
  World world(view);
  signals.install();
  const Config config = prepared.config;
  const Mesh mesh(config.parallel);
  std::optional<Begun> begun;
  std::optional<Run> run;
  try {
    const DeviceChoice device = choose_device(prepared.config, view, world.all());
    require_equal_ranks(world.all(), prepared.config, *prepared.train, prepared.validation.get());
    watch.emplace(world, prepared.config.run, history);
    // launch/mpirun.sh passes stop signals on from here. Before, it ends the job itself: nothing is lost yet.
    if (world.rank() == 0 && std::getenv("DROVER_TERMINAL") != nullptr) std::fputs("drover: ready\n", stderr);
    begun.emplace(Begun{.request = request,
                        .prepared = std::move(prepared),
                        .choice = device,
                        .world = world,
                        .watch = *watch,
                        .signals = signals,
                        .history = history,
                        .store = CheckpointStore(config.run.dir, world.all()),
                        .checkpoint = {},
                        .found = {}});
    begun->checkpoint = find_checkpoint(begun->store, config, [&](const std::string& text) { begun->found.push_back(text); });
    std::optional<int> code;
    while (!code) {
      run.reset();  // its memory, before the next one's
      run.emplace(*begun);
      code = run->run();
    }
    if (run->reading()) {  // a destructor would wait for it
      world.finish();
      watch.reset();
      std::fflush(nullptr);
      std::_Exit(*code);
    }
    return *code;
  } catch (const std::exception& error) {
    if (run) run->clear_screen();
    end_in_failure(world, mesh, view, history, error, run ? std::optional(run->step()) : std::nullopt);
  }
}

}  // namespace drover
