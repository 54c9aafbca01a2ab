// The training step on one rank: planned memory, parameters, model, programs, executor and optimizer, with no files, signals or
// console. `trainer/run.h` is the loop around it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/batch.h"
#include "kernels/arena.h"
#include "parallel/mesh.h"
#include "parallel/schedule.h"
#include "parallel/world.h"
#include "trainer/checkpoint/piece.h"
#include "trainer/programs.h"

namespace drover {

struct StepResult {
  double loss = 0;       // weighted mean over the global batch, before the update; the same on all ranks
  double grad_norm = 0;  // of the mean loss, before clipping
  double weight = 0;     // tokens that counted
  double lr = 0;
  bool skipped = false;  // not finite, or nothing to learn from (weight 0): weights, moments and Adam's t stayed as they were
  bool stop = false;     // some rank wants to stop: all ranks see it after the same step
  int64_t waiting = 0;   // ranks without data: the step was thrown away, everything stayed as it was
  int64_t late = 0;      // ranks that said StepRequest::late_data
};

struct EvaluationResult {
  double loss_sum = 0, weight_sum = 0;
  bool stop = false;
  int64_t waiting = 0;
};

// What one rank tells all others with a step's sums.
struct StepRequest {
  std::function<bool()> stop;  // asked when this rank's share of the step is done; none: no
  bool late_data = false;      // this rank's batches were noticeably late
  bool no_data = false;        // `batches` are of another step, or of none: all ranks throw the step away, and see who asks to stop
};

// Memory of one rank on its device (run.device) by category and name, from the configuration and its programs: the same carving code that
// training runs, counted.
Arena measure_memory(const Config& config, const Mesh& mesh, int rank, const Programs& programs);

class Engine {
 public:
  // Carves and freezes all tensor memory; weights are zero until initialize() or until the pieces were loaded and publish() was called.
  // `device`: of run.device's type, this rank's.
  Engine(const Config& config, const Mesh& mesh, int rank, const Groups& groups, Device device = {});
  ~Engine();

  void initialize();  // master weights from (seed, logical name, global element index)
  void publish();     // weights of the compute dtype from the masters, on all ranks

  // The micro-batches of this rank for one step, as many as buffers one step needs (global_batch / dp / micro_batch), in host memory.
  const std::vector<Batch>& train_buffers() const;       // two steps' worth: the loader fills one while the other is read
  const std::vector<Batch>& validation_buffers() const;  // two steps' worth; empty without data.validation

  StepResult step(int64_t step, const std::vector<Batch>& batches, const StepRequest& request = {});
  EvaluationResult evaluate(const std::vector<Batch>& batches, const StepRequest& request = {});

  // Logits of the last executed micro-batch at `token`, [vocab]: for generation, on a world of one.
  std::vector<float> logits(const std::vector<Batch>& batches, int64_t token);

  // Rectangles of optimizer state that this rank owns (to save), or holds (to load: copies included).
  std::vector<Piece> owned_pieces(bool gradients);
  std::vector<Piece> held_pieces();
  // Of the weights that this rank computes with, by name and offset (ParamStore::weight_hashes).
  std::map<std::string, uint64_t> weight_hashes() const;
  int64_t applied() const;
  void set_applied(int64_t updates);

  // Collective, after a skipped step: the logical name of the first tensor with a non-finite gradient, in the order of the backward pass
  // (what it flowed into is bad too); "the loss" when every gradient is finite.
  std::string first_bad_tensor();

  // On a GPU: calls choose(this rank's matrix products of a step, each shape once) with their operands where they will be, in memory that
  // holds random numbers then, whatever it held before, and zeros afterwards. REQUIRES: neither initialize() nor held_pieces() was called.
  void choose_algorithms(const std::function<void(const std::vector<GemmCall>&)>& choose);

  const Arena& memory() const;
  const std::vector<Program>& programs() const;               // of all pipeline ranks, lowered and verified
  Stream& stream();                                           // its totals count FLOPs and bytes by kind
  void log_actions(std::function<void(const Action&)> sink);  // called before each executed action; for tests and --log-actions

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace drover
