#include <gtest/gtest.h>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

class Ranks : public ::testing::TestWithParam<int> {};

TEST_P(Ranks, CollectivesGiveTheExactValues) {
  std::vector<std::string> command{DROVER_BUILD_DIR "/check_communicator"};
  if (GetParam() > 1) command.insert(command.begin(), {testing::mpirun_script(), "-np", std::to_string(GetParam())});
  const auto outcome = testing::run_command(command, "/");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(testing::count(outcome.output, "all values are right"), 1) << outcome.output;
}
INSTANTIATE_TEST_SUITE_P(Communicator, Ranks, ::testing::Values(1, 2, 3, 4),
                         [](const auto& test) { return std::to_string(test.param); });

}  // namespace
}  // namespace drover
