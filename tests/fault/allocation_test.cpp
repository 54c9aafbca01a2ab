// After step 1 nothing large is allocated: a run of 20 steps asks the heap for no more blocks above 64 KiB than a run of one.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

using testing::Layout;
using testing::Sandbox;

// Internal packing and message buffers of these libraries are theirs; everything else is ours.
bool is_excepted(const std::string& library) {
  for (const char* name : {"libdnnl", "libopen-pal", "libopen-rte", "libmpi", "mca_", "libpmix", "libgomp"})
    if (library.starts_with(name)) return true;
  return false;
}

struct Allocations {
  std::map<std::string, int> ours, excepted;  // "bytes library": how often
};

Allocations read_log(const std::filesystem::path& path) {
  Allocations allocations;
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path << ": the hook wrote nothing";
  for (std::string line; std::getline(file, line);) {
    const std::string library = line.substr(line.find(' ') + 1);
    ++(is_excepted(library) ? allocations.excepted : allocations.ours)[line];
  }
  return allocations;
}

class Allocation : public ::testing::TestWithParam<Layout> {};

TEST_P(Allocation, NothingLargeAfterStepOne) {
  const Layout& layout = GetParam();
  if (!std::filesystem::exists(DROVER_BUILD_DIR "/libmalloc_hook.so"))
    GTEST_SKIP() << "the sanitizers bring an allocator of their own";
  Sandbox sandbox;
  sandbox.configure({{"model.hidden", "128"},
                     {"model.ffn", "384"},
                     {"train.sequence", "128"},
                     {"train.global_batch", "16"},
                     {"train.micro_batch", "2"},
                     {"optimizer.schedule", "constant"},
                     {"optimizer.warmup_steps", "1"}});
  for (const std::string steps : {"1", "20"}) {
    const std::string log = sandbox.path() / ("allocations_" + steps);
    // Only drover is watched: the launcher's shell and mpirun are programs of their own.
    std::vector<std::string> command =
        sandbox.on_ranks(layout.ranks(), sandbox.train_arguments(layout, "run_" + steps, {"train.steps=" + steps}));
    const auto program = std::find(command.begin(), command.end(), testing::drover_program());
    command.insert(program, {"env", "LD_PRELOAD=" DROVER_BUILD_DIR "/libmalloc_hook.so", "DROVER_MALLOC_LOG=" + log});
    const auto outcome = testing::run_command(command, sandbox.path());
    ASSERT_EQ(outcome.code, 0) << outcome.output;
  }
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const std::string suffix = "." + std::to_string(rank);
    const Allocations one = read_log(sandbox.path() / ("allocations_1" + suffix)),
                      twenty = read_log(sandbox.path() / ("allocations_20" + suffix));
    EXPECT_FALSE(one.ours.empty()) << "the rate probe at start allocates: a hook that sees nothing is broken";
    for (const auto& [what, times] : twenty.ours) {
      const auto before = one.ours.find(what);
      EXPECT_LE(times, before == one.ours.end() ? 0 : before->second) << what << ": allocated in steps 2 to 20";
    }
    for (const auto& [what, times] : twenty.excepted)
      if (rank == 0) std::printf("excepted: %s, %d times in 20 steps\n", what.c_str(), times);
  }
}
INSTANTIATE_TEST_SUITE_P(Layouts, Allocation, ::testing::Values(Layout{1, 1, 1}, Layout{2, 2, 2}),
                         [](const auto& layout) { return layout.param.name(); });

}  // namespace
}  // namespace drover
