#include "trainer/buffer_plan.h"

#include <gtest/gtest.h>

#include "tests/trainer/testing.h"
#include "trainer/programs.h"

namespace drover {
namespace {

using testing::small_config;

bool backward(Op op) { return op == Op::backward || op == Op::backward_input || op == Op::backward_weight; }

// No buffer serves two micro-batches whose lifetimes overlap; lifetimes are found anew, by scanning the program.
void expect_disjoint(const Program& program, const std::vector<int>& buffer, int count, bool (*uses)(const Action&)) {
  for (size_t a = 0; a < buffer.size(); ++a)
    for (size_t b = a + 1; b < buffer.size(); ++b) {
      if (buffer[a] < 0 || buffer[a] != buffer[b]) continue;
      int first_b = -1, last_a = -1, first_a = -1, last_b = -1;
      for (int i = 0; i < static_cast<int>(program.size()); ++i) {
        const Action& action = program[static_cast<size_t>(i)];
        if (!uses(action)) continue;
        if (action.microbatch == static_cast<int>(a)) first_a = first_a < 0 ? i : first_a, last_a = i;
        if (action.microbatch == static_cast<int>(b)) first_b = first_b < 0 ? i : first_b, last_b = i;
      }
      EXPECT_TRUE(last_a < first_b || last_b < first_a) << "micro-batches " << a << " and " << b << " share buffer " << buffer[a];
    }
  for (int b : buffer) EXPECT_LT(b, count);
}

TEST(BufferPlan, LifetimesDoNotOverlapAndStageHoldsAtMostItsShare) {
  for (const int stages : {1, 2, 3, 4})
    for (const int microbatches : {1, 2, 3, 5, 8}) {
      Config config = small_config();
      config.model.layers = 5;
      config.parallel.pp = stages;
      config.train.micro_batch = 1;
      config.train.global_batch = microbatches;
      const Mesh mesh(config.parallel);
      const Programs programs = make_programs(config, mesh);
      const PipelineShape shape = pipeline_shape(config, mesh);
      for (int stage = 0; stage < stages; ++stage) {
        SCOPED_TRACE(::testing::Message() << "stages " << stages << " micro-batches " << microbatches << " stage " << stage);
        const Program& program = programs.train[static_cast<size_t>(stage)];
        const bool first = stage == 0, last = stage == stages - 1;
        const BufferPlan plan = plan_buffers(program, microbatches, shape.units[static_cast<size_t>(stage)], first, last);
        expect_disjoint(program, plan.activation, plan.activations,
                        [](const Action& a) { return a.op == Op::forward || a.op == Op::recompute || backward(a.op); });
        expect_disjoint(program, plan.input, plan.inputs, [](const Action& a) {
          return a.op == Op::recv_act || (a.unit == 0 && (a.op == Op::forward || a.op == Op::recompute || backward(a.op)));
        });
        expect_disjoint(program, plan.gradient, plan.gradients,
                        [](const Action& a) { return a.op == Op::recv_grad || a.op == Op::send_grad || backward(a.op); });
        EXPECT_LE(peak_in_flight(program), stages - stage);
        EXPECT_LE(plan.activations, stages - stage);
        EXPECT_LE(plan.inputs, first ? 0 : stages - stage + 1) << "one may arrive early";
        EXPECT_EQ(plan.first, std::vector<int>(static_cast<size_t>(shape.units[static_cast<size_t>(stage)]), 0));
        for (int m = 0; m < microbatches; ++m) {
          EXPECT_GE(plan.activation[static_cast<size_t>(m)], 0);
          EXPECT_EQ(plan.input[static_cast<size_t>(m)] < 0, first);
          EXPECT_GE(plan.gradient[static_cast<size_t>(m)], 0);
        }
      }
    }
}

// The head makes its weight's gradient with its loss, the others with their backward actions.
TEST(BufferPlan, FirstToComeToAUnitsWeights) {
  const Program program{{Op::forward, 0, 0, 0},  {Op::forward, 0, 1, 0},        {Op::forward, 0, 0, 1},
                        {Op::forward, 0, 1, 1},  {Op::backward_input, 0, 0, 0}, {Op::backward_input, 0, 0, 1},
                        {Op::backward, 0, 1, 0}, {Op::backward_weight, 0, 0, 0}};
  EXPECT_EQ(plan_buffers(program, 2, 2, true, true).first, (std::vector<int>{1, 0}));
  EXPECT_EQ(plan_buffers(program, 2, 2, true, false).first, (std::vector<int>{1, -1}));
}

}  // namespace
}  // namespace drover
