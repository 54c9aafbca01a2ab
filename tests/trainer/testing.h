// Small models and hand-made batches for the trainer's tests.
#pragma once
#include <vector>

#include "configs/config.h"
#include "kernels/base/philox.h"
#include "parallel/communicator.h"
#include "trainer/engine.h"

namespace drover::testing {

inline Config small_config() {
  Config config;
  config.model.layers = 3;
  config.model.hidden = 32;
  config.model.heads = 4;
  config.model.kv_heads = 2;
  config.model.head_dim = 8;
  config.model.ffn = 48;
  config.model.vocab = 258;
  config.parallel.dp = 1;
  config.train.steps = 10;
  config.train.global_batch = 4;
  config.train.micro_batch = 2;
  config.train.sequence = 16;
  config.train.seed = 1;
  config.optimizer.lr = 1e-2;
  config.precision.compute = Precision::f32;
  return config;
}

// A world of one: every group is Self.
struct SelfGroups {
  std::unique_ptr<Communicator> self = make_self_communicator("test");
  Groups groups() { return {*self, *self, *self, *self, *self, *self}; }
};

// Random tokens, one document a sample, every target counted.
inline void fill_batches(const std::vector<Batch>& batches, int64_t sequence, uint64_t seed) {
  uint64_t counter = 0;
  for (const Batch& batch : batches)
    for (int64_t t = 0; t < batch.token.count(); ++t) {
      const auto draw = philox4x32(seed, counter++, 0);
      batch.token.as<int32_t>()[t] = static_cast<int32_t>(draw[0] % 256);
      batch.target.as<int32_t>()[t] = static_cast<int32_t>(draw[1] % 256);
      batch.position.as<int32_t>()[t] = static_cast<int32_t>(t % sequence);
      batch.document_begin.as<int32_t>()[t] = 0;
      batch.weight.as<float>()[t] = 1;
    }
}

// The first step's worth of the engine's training buffers.
inline std::vector<Batch> step_buffers(const Engine& engine) {
  const std::vector<Batch>& all = engine.train_buffers();
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2)};
}

// A world of one with initial weights, and the batches of a step, filled.
struct OneRank {
  OneRank(const Config& config, uint64_t seed)
      : engine(config, Mesh(config.parallel), 0, self.groups()), batches(step_buffers(engine)) {
    engine.initialize();
    fill_batches(batches, config.train.sequence, seed);
  }
  SelfGroups self;
  Engine engine;
  std::vector<Batch> batches;
};

inline std::vector<float> values_of(const std::vector<Piece>& pieces, const std::string& array) {
  std::vector<float> values;
  for (const Piece& piece : pieces)
    if (piece.array == array) values.insert(values.end(), piece.data, piece.data + piece.rectangle.extent.count());
  return values;
}

}  // namespace drover::testing
