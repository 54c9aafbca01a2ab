// After step 1 nothing large is allocated: a run of 20 steps asks the heap for no more blocks above 64 KiB than a run of one. And no block
// is ever as large as a rank's part of a large tensor, let alone the whole: tensors live in planned memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <tuple>

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

// Starts drover on the layout's ranks with the hook in each, which writes to `log`.RANK.
void run_watched(const Sandbox& sandbox, const Layout& layout, const std::vector<std::string>& arguments, const std::string& log) {
  // Only drover is watched: the launcher's shell and mpirun are programs of their own.
  std::vector<std::string> command = sandbox.on_ranks(layout.ranks(), arguments);
  const auto program = std::find(command.begin(), command.end(), testing::drover_program());
  command.insert(program, {"env", "LD_PRELOAD=" DROVER_BUILD_DIR "/libmalloc_hook.so", "DROVER_MALLOC_LOG=" + log});
  const auto outcome = testing::run_command(command, sandbox.path());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
}

bool has_hook() { return std::filesystem::exists(DROVER_BUILD_DIR "/libmalloc_hook.so"); }

class Allocation : public ::testing::TestWithParam<std::tuple<Layout, std::string>> {};

TEST_P(Allocation, NothingLargeAfterStepOne) {
  const auto& [layout, precision] = GetParam();
  if (!has_hook()) GTEST_SKIP() << "the sanitizers bring an allocator of their own";
  Sandbox sandbox;
  sandbox.configure({{"precision.compute", precision},
                     {"model.hidden", "128"},
                     {"model.ffn", "384"},
                     {"train.sequence", "128"},
                     {"train.global_batch", "16"},
                     {"train.micro_batch", "2"},
                     {"optimizer.schedule", "constant"},
                     {"optimizer.warmup_steps", "1"},
                     {"data.validation", "data"},
                     {"train.validate_every", "5"},
                     {"train.validation_batches", "2"}});
  for (const std::string steps : {"1", "20"}) {
    run_watched(sandbox, layout, sandbox.train_arguments(layout, "run_" + steps, {"train.steps=" + steps}),
                sandbox.path() / ("allocations_" + steps));
    ASSERT_FALSE(HasFatalFailure());
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
INSTANTIATE_TEST_SUITE_P(Layouts, Allocation,
                         ::testing::Values(std::tuple{Layout{1, 1, 1}, "f32"}, std::tuple{Layout{2, 2, 2}, "f32"},
                                           std::tuple{Layout{1, 2, 2}, "bf16"}),
                         [](const auto& test) { return std::get<0>(test.param).name() + "_" + std::get<1>(test.param); });

// Initial weights, a step, a save at one layout, a load at another: the embedding and the head are 64 MiB each, a shard of a slice of one
// is 16 MiB, and the heap never gives out that much, to whomever.
TEST(Heap, HoldsNoTensor) {
  if (!has_hook()) GTEST_SKIP() << "the sanitizers bring an allocator of their own";
  constexpr int64_t kVocabulary = 131072, kHidden = 128, kWhole = kVocabulary * kHidden * 4, kShard = kWhole / 4;
  Sandbox sandbox;
  sandbox.configure({{"model.hidden", std::to_string(kHidden)},
                     {"model.vocab", std::to_string(kVocabulary)},
                     {"model.layers", "1"},
                     {"train.steps", "1"},
                     {"train.global_batch", "2"},
                     {"train.micro_batch", "1"},
                     {"optimizer.warmup_steps", "0"},
                     {"checkpoint.every", "1"}});
  const Layout saved{2, 2, 1}, loaded{1, 4, 1};
  const std::string first = sandbox.path() / "first", second = sandbox.path() / "second";
  run_watched(sandbox, saved, sandbox.train_arguments(saved, "run", {}), first);
  run_watched(sandbox, loaded, {"resume", "run", "--set", "parallel.tp=4", "--set", "train.steps=2"}, second);
  for (const std::string& log : {first, second})
    for (int rank = 0; rank < 4; ++rank) {
      SCOPED_TRACE(log + " of rank " + std::to_string(rank));
      const Allocations allocations = read_log(log + "." + std::to_string(rank));
      int64_t largest = 0;
      for (const auto* each : {&allocations.ours, &allocations.excepted})
        for (const auto& [what, times] : *each) {
          EXPECT_LT(std::stoll(what), kShard) << what;
          largest = std::max<int64_t>(largest, std::stoll(what));
        }
      EXPECT_GT(largest, 0);
    }
}

}  // namespace
}  // namespace drover
