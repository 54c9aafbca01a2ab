#include "trainer/model/units.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/trainer/testing.h"

namespace drover {
namespace {

using testing::small_config;

// Every logical element is held by an owner exactly once, whatever the layout.
void expect_covered(Config config, int tp, int pp) {
  config.parallel.tp = tp;
  config.parallel.pp = pp;
  const Mesh mesh(config.parallel);
  std::map<std::string, std::vector<int>> hits;
  for (int rank = 0; rank < mesh.size(); ++rank)
    for (const Unit& unit : stage_units(config, mesh, rank).units)
      for (const Parameter& p : unit.parameters) {
        if (!unit.owner || (p.replicated && mesh.coordinate(rank, Axis::tp) != 0)) continue;
        std::vector<int>& seen = hits[p.name];
        seen.resize(static_cast<size_t>(p.global.count()));
        const int64_t columns = p.local.rank == 2 ? p.local[1] : 1, width = p.global.rank == 2 ? p.global[1] : 1;
        for (int64_t i = 0; i < p.valid; ++i) {
          const int64_t row = p.offset[0] + i / columns, column = (p.offset.rank == 2 ? p.offset[1] : 0) + i % columns;
          ++seen.at(static_cast<size_t>(row * width + column));
        }
      }
  int64_t total = 0;
  for (const auto& [name, seen] : hits)
    for (int count : seen) {
      ASSERT_EQ(count, 1) << name;
      ++total;
    }
  EXPECT_EQ(total, parameter_count(config.model));
}

TEST(Units, EveryElementHasOneOwner) {
  for (const bool tied : {false, true})
    for (const bool bias : {false, true})
      for (const auto& [tp, pp] : std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {1, 2}, {2, 3}, {4, 1}, {8, 2}}) {
        Config config = small_config();
        config.model.heads = config.model.kv_heads = 8;
        config.model.head_dim = 4;
        config.model.tied_embeddings = tied;
        config.model.qkv_bias = bias;
        SCOPED_TRACE(::testing::Message() << "tied " << tied << " bias " << bias << " tp " << tp << " pp " << pp);
        expect_covered(config, tp, pp);
      }
}

TEST(Units, SideBySideParametersLeaveNoGap) {
  const Config config = small_config();
  const Unit unit = block_unit(config, model_shape(config, Mesh(config.parallel), 0), 0, 0);
  const auto end = [&](const char* name) { return unit.parameter(name).begin + unit.parameter(name).local.count(); };
  EXPECT_EQ(end("q_proj.weight"), unit.parameter("k_proj.weight").begin);
  EXPECT_EQ(end("k_proj.weight"), unit.parameter("v_proj.weight").begin);
  EXPECT_EQ(end("gate_proj.weight"), unit.parameter("up_proj.weight").begin);
  EXPECT_EQ(unit.replicated, end("post_attention_layernorm.weight"));
}

TEST(Units, ParametersAreFoundByTheEndOfTheirName) {
  const Config config = small_config();
  const Unit unit = block_unit(config, model_shape(config, Mesh(config.parallel), 0), 3, 0);
  EXPECT_EQ(unit.parameter("o_proj.weight").name, "model.layers.3.self_attn.o_proj.weight");
  EXPECT_THROW(unit.parameter("x_proj.weight"), Error);
  EXPECT_THROW(unit.parameter("_proj.weight"), Error);  // several
}

TEST(Units, MatricesDecayAndNormsAndBiasesDoNot) {
  Config config = small_config();
  config.model.qkv_bias = true;
  const StageUnits stage = stage_units(config, Mesh(config.parallel), 0);
  int vectors = 0;
  for (const Unit& unit : stage.units)
    for (const Parameter& parameter : unit.parameters) {
      EXPECT_EQ(parameter.decay, parameter.global.rank == 2) << parameter.name;
      vectors += parameter.global.rank == 1;
    }
  EXPECT_EQ(vectors, 3 * (2 + 3) + 1);
}

// The logits of a micro-batch never exist at once where that would be much.
TEST(ModelShape, ChunksOfTheLossAreSmall) {
  Config config = small_config();
  config.model.vocab = 128256;
  config.train.micro_batch = 1;
  config.train.sequence = 8192;
  for (const int tp : {1, 2}) {
    config.parallel.tp = tp;
    const ModelShape shape = model_shape(config, Mesh(config.parallel), 0);
    EXPECT_LE(shape.loss_chunk * shape.vocabulary_rows, 1 << 25);
    EXPECT_LT(shape.loss_chunk, shape.tokens / 8);
    EXPECT_GE(shape.loss_chunk, 64);
  }
}

TEST(Units, NormsAndBiasesDoNotDecay) {
  Config config = small_config();
  config.model.qkv_bias = true;
  for (const Unit& unit : stage_units(config, Mesh(config.parallel), 0).units)
    for (const Parameter& p : unit.parameters) EXPECT_EQ(p.decay, p.global.rank == 2) << p.name;
}

TEST(Units, TiedCopyHasTheSameFlatLayout) {
  Config config = small_config();
  config.model.tied_embeddings = true;
  config.parallel.pp = 3;
  const Mesh mesh(config.parallel);
  const StageUnits first = stage_units(config, mesh, 0), last = stage_units(config, mesh, 2);
  ASSERT_EQ(last.embedding, last.executed);
  const Unit& a = first.units[0];
  const Unit& b = last.units[static_cast<size_t>(last.embedding)];
  EXPECT_EQ(a.count, b.count);
  EXPECT_TRUE(a.owner);
  EXPECT_FALSE(b.owner);
}

TEST(Units, LayersPerStage) {
  EXPECT_EQ(layers_per_stage(8, 4), (std::vector<int>{2, 2, 2, 2}));
  EXPECT_EQ(layers_per_stage(5, 3), (std::vector<int>{2, 2, 1}));
  EXPECT_EQ(layers_per_stage(126, 16).back(), 7);
  int sum = 0;
  for (int layers : layers_per_stage(126, 16)) sum += layers;
  EXPECT_EQ(sum, 126);
}

}  // namespace
}  // namespace drover
