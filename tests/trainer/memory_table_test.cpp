#include "trainer/memory_table.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/trainer/testing.h"
#include "trainer/engine.h"

namespace drover {
namespace {

using testing::SelfGroups;
using testing::small_config;

TEST(PlannedMemory, IsExactlyWhatTheEngineUses) {
  for (const Recompute recompute : {Recompute::none, Recompute::block}) {
    Config config = small_config();
    config.train.recompute = recompute;
    const Mesh mesh(config.parallel);
    SelfGroups self;
    Engine engine(config, mesh, 0, self.groups());
    const Arena plan = measure_memory(config, mesh, 0, make_programs(config, mesh));
    EXPECT_EQ(engine.memory().used(), plan.used());
    for (const std::string& category : plan.categories())
      EXPECT_EQ(engine.memory().used_by(category), plan.used_by(category)) << category;
  }
}

// Whatever depends on the sequence, scratch of attention and products included, grows no faster than it; on every stage.
TEST(PlannedMemory, OfTwiceTheSequenceIsAtMostTwiceInEveryKind) {
  for (const Recompute recompute : {Recompute::none, Recompute::block})
    for (const int pp : {1, 3}) {
      Config config = small_config();
      config.train.recompute = recompute;
      config.train.micro_batch = 1;
      config.train.sequence = 4096;
      config.parallel.pp = pp;
      const Mesh mesh(config.parallel);
      const Programs programs = make_programs(config, mesh);
      for (int rank = 0; rank < pp; ++rank) {
        const Arena once = measure_memory(config, mesh, rank, programs);
        Config longer = config;
        longer.train.sequence *= 2;
        const Arena twice = measure_memory(longer, mesh, rank, programs);
        for (const std::string& category : once.categories())
          EXPECT_LE(twice.used_by(category), 2 * once.used_by(category)) << category << " of rank " << rank;
        EXPECT_GT(twice.used_by("activations"), 3 * once.used_by("activations") / 2);
        EXPECT_EQ(twice.used_by("weights"), once.used_by("weights"));
      }
    }
}

// The worst rank is found by programs of few micro-batches; with those of the run every stage needs at most as much.
TEST(WorstRank, NeedsWhatTheRunsOwnProgramsSay) {
  for (const Recompute recompute : {Recompute::none, Recompute::block})
    for (const int stages : {1, 2, 3, 5, 8})
      for (const int microbatches : {1, stages, 2 * stages, 2 * stages + 1, 4 * stages + 3}) {
        Config config = small_config();
        config.train.recompute = recompute;
        config.model.layers = 11;
        config.parallel.pp = stages;
        config.train.micro_batch = 1;
        config.train.global_batch = microbatches;
        const Mesh mesh(config.parallel);
        const Programs programs = make_programs(config, mesh);
        int64_t most = 0;
        for (int rank = 0; rank < stages; ++rank) most = std::max(most, measure_memory(config, mesh, rank, programs).used());
        const WorstRank worst = worst_rank(config, mesh);
        EXPECT_EQ(worst.memory.used(), most) << stages << " stages, " << microbatches << " micro-batches";
        EXPECT_EQ(measure_memory(config, mesh, worst.rank, programs).used(), most);
      }
}

}  // namespace
}  // namespace drover
