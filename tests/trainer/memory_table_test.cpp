// The worst rank is found by programs of few micro-batches; with those of the run every stage needs at most as much.
#include "trainer/memory_table.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/trainer/testing.h"
#include "trainer/engine.h"

namespace drover {
namespace {

TEST(WorstRank, NeedsWhatTheRunsOwnProgramsSay) {
  for (const Recompute recompute : {Recompute::none, Recompute::block})
    for (const int stages : {1, 2, 3, 5, 8})
      for (const int microbatches : {1, stages, 2 * stages, 2 * stages + 1, 4 * stages + 3}) {
        Config config = testing::small_config();
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
