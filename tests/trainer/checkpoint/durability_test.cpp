// What a power cut may leave of a save: the whole checkpoint under its name, or nothing of it; LATEST never names what is not there.
#include <gtest/gtest.h>

#include "tests/file_trace.h"
#include "tests/trainer/checkpoint/testing.h"

namespace drover {
namespace {

using namespace checkpoint_testing;  // NOLINT: the tests' own vocabulary
using testing::FileCall;
using testing::FileTrace;

void save_alone(const fs::path& run, int64_t step) {
  const std::unique_ptr<Communicator> alone = make_self_communicator("world");
  Cut cut(model(), 1, 1);
  cut.fill(step);
  CheckpointStore(run, *alone).save(state_at(step), cut.of_rank[0], 0);
}

void expect_durable_save(const FileTrace& trace, const fs::path& checkpoints, const std::string& name) {
  const fs::path temporary = checkpoints / (".tmp_" + name);
  const int published = trace.renamed_to(checkpoints / name), latest = trace.renamed_to(checkpoints / "LATEST");
  for (const char* file : {"rank_00000.h5", "index.h5"}) trace.expect_synced(temporary / file, published);
  const int manifest = trace.renamed_to(temporary / "manifest.pb");
  trace.expect_synced(temporary / "manifest.pb.tmp", manifest);
  trace.expect_directory_synced(temporary, manifest, published);
  trace.expect_directory_synced(checkpoints, published, latest);
  trace.expect_synced(checkpoints / "LATEST.tmp", latest);
  trace.expect_directory_synced(checkpoints, latest);
}

TEST(CheckpointDurability, DataThenNameThenLatest) {
  const Directory run;
  const fs::path checkpoints = run.path / "checkpoints";
  {
    const FileTrace trace;
    save_alone(run.path, 1);
    expect_durable_save(trace, checkpoints, "step_00000001");
    trace.expect_directory_synced(run.path, -1, trace.renamed_to(checkpoints / "step_00000001"));
  }
  for (const int64_t step : {2, 2}) {  // the second time it replaces itself
    const FileTrace trace;
    save_alone(run.path, step);
    expect_durable_save(trace, checkpoints, "step_00000002");
  }
}

// A directory is on the disk once the one that holds it was synced.
TEST(CheckpointDurability, NewDirectoriesAreSyncedIntoTheirParents) {
  const Directory scratch;
  const fs::path run = scratch.path / "runs/mine";
  const FileTrace trace;
  save(run, 1);
  const int named = trace.renamed_to(run / "checkpoints/step_00000001");
  for (const fs::path& made : {scratch.path / "runs", run, run / "checkpoints"})
    trace.expect_directory_synced(made.parent_path(), trace.first(FileCall::Kind::make, made), named);
}

}  // namespace
}  // namespace drover
