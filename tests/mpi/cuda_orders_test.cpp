// The streams of a step in random orders, which only events constrain (check_orders.cpp; tests/simt/streams.h).
#include <gtest/gtest.h>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

testing::Outcome check(const testing::Layout& layout, const std::vector<std::string>& what) {
  std::vector<std::string> command{std::string(DROVER_BUILD_DIR) + "/check_orders", std::to_string(layout.dp),
                                   std::to_string(layout.tp), std::to_string(layout.pp)};
  command.insert(command.end(), what.begin(), what.end());
  if (layout.ranks() > 1) command.insert(command.begin(), {testing::mpirun_script(), "-np", std::to_string(layout.ranks())});
  return testing::run_command(command, "/");
}

class Orders : public ::testing::TestWithParam<testing::Layout> {};
INSTANTIATE_TEST_SUITE_P(Streams, Orders, ::testing::Values(testing::Layout{1, 1, 1}, testing::Layout{2, 2, 2}),
                         [](const auto& test) { return test.param.name(); });

TEST_P(Orders, FiftyGiveEqualBits) {
  const testing::Outcome outcome = check(GetParam(), {"orders", "50"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "50 orders, 0 differ from the first"), 1) << outcome.output;
}

// Every wait of a step on two ranks is needed: without any one of them some order gives other losses, norms or weights.
class Waits : public ::testing::TestWithParam<testing::Layout> {};
INSTANTIATE_TEST_SUITE_P(Streams, Waits, ::testing::Values(testing::Layout{2, 1, 1}, testing::Layout{1, 1, 2}),
                         [](const auto& test) { return test.param.name(); });

TEST_P(Waits, AreNeeded) {
  const testing::Outcome outcome = check(GetParam(), {"waits", "100"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "34 waits, 0 of them for nothing"), 1) << outcome.output;
}

// Ten orders of ten steps, with validations between (check_orders.cpp).
class Graphs : public ::testing::TestWithParam<testing::Layout> {};
INSTANTIATE_TEST_SUITE_P(Streams, Graphs,
                         ::testing::Values(testing::Layout{1, 1, 1}, testing::Layout{2, 1, 1}, testing::Layout{1, 2, 1},
                                           testing::Layout{1, 1, 2}),
                         [](const auto& test) { return test.param.name(); });

TEST_P(Graphs, GiveTheBitsAndCostsOfSingleLaunches) {
  const testing::Outcome outcome = check(GetParam(), {"graphs", "5"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "10 runs by graphs, 0 differ from those without; 0 graphs left or not as expected"), 1)
      << outcome.output;
}

// What lives within an action, a micro-batch or between recompute and backward is read by nobody else, and what nobody wrote by nobody.
class Poison : public ::testing::TestWithParam<testing::Layout> {};
INSTANTIATE_TEST_SUITE_P(Memory, Poison, ::testing::Values(testing::Layout{1, 1, 1}, testing::Layout{1, 2, 2}),
                         [](const auto& test) { return test.param.name(); });

TEST_P(Poison, ChangesNoBit) {
  const testing::Outcome outcome = check(GetParam(), {"poison"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "2 poisoned runs, 0 differ"), 1) << outcome.output;
}

// What the host asks for in a step of four micro-batches of two layers: more is a decision, not an accident. It waits for the GPU twice, for
// the loss and for the norm, when the step is done.
TEST(Launches, OfAStepAreCounted) {
  const testing::Outcome outcome = check({}, {"counts"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output,
                           "rank 0: 371 launches, 0 launches of graphs, 52 copies, 42 records, 4 waits, 2 synchronizations"),
            1)
      << outcome.output;
}

// The same step by graphs: one launch for each of its 32 actions, whose 280 kernels and 28 copies they hold. Beside them stay what a step does
// once, and five copies a micro-batch to where the graphs read it.
TEST(Launches, OfAStepByGraphsAreFewer) {
  const testing::Outcome outcome = check({}, {"counts", "graphs"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output,
                           "rank 0: 91 launches, 32 launches of graphs, 44 copies, 42 records, 4 waits, 2 synchronizations"),
            1)
      << outcome.output;
}

// Between a layer's parts two tensor-parallel ranks communicate, which no graph does: there the actions' graphs are split.
TEST(Launches, OfAStepByGraphsAreSplitByCollectives) {
  const testing::Outcome outcome = check({1, 2, 1}, {"counts", "graphs"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, " 132 launches of graphs, "), 2) << outcome.output;
}

}  // namespace
}  // namespace drover
