// The streams of a step in random orders, which only events constrain (check_orders.cpp; tests/simt/streams.h).
#include <gtest/gtest.h>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

testing::Outcome check(const testing::Layout& layout, const std::string& what, int orders) {
  std::vector<std::string> command{std::string(DROVER_BUILD_DIR) + "/check_orders",
                                   std::to_string(layout.dp),
                                   std::to_string(layout.tp),
                                   std::to_string(layout.pp),
                                   what,
                                   std::to_string(orders)};
  if (layout.ranks() > 1) command.insert(command.begin(), {testing::mpirun_script(), "-np", std::to_string(layout.ranks())});
  return testing::run_command(command, "/");
}

class Orders : public ::testing::TestWithParam<testing::Layout> {};
INSTANTIATE_TEST_SUITE_P(Streams, Orders, ::testing::Values(testing::Layout{1, 1, 1}, testing::Layout{2, 2, 2}),
                         [](const auto& test) { return test.param.name(); });

TEST_P(Orders, FiftyGiveEqualBits) {
  const testing::Outcome outcome = check(GetParam(), "orders", 50);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "50 orders, 0 differ from the first"), 1) << outcome.output;
}

// Every wait of a step on two ranks is needed: without any one of them some order gives other losses, norms or weights.
TEST(Waits, AreNeeded) {
  const testing::Outcome outcome = check({2, 1, 1}, "waits", 100);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "34 waits, 0 of them for nothing"), 1) << outcome.output;
}

// What the host asks for in a step of four micro-batches of two layers: more is a decision, not an accident. It waits for the GPU twice, for
// the loss and for the norm, when the step is done.
TEST(Launches, OfAStepAreCounted) {
  const testing::Outcome outcome = check({}, "counts", 1);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "rank 0: 379 launches, 53 copies, 53 records, 17 waits, 2 synchronizations"), 1)
      << outcome.output;
}

}  // namespace
}  // namespace drover
