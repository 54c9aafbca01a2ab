// Checkpoints: any layout loads any other's, damage is found, and the previous one is never touched.
#include "trainer/checkpoint/store.h"

#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/stat.h>

#include "tests/trainer/checkpoint/testing.h"
#include "trainer/checkpoint/manifest.h"

namespace drover {
namespace {

using namespace checkpoint_testing;  // NOLINT: the tests' own vocabulary

TEST(Checkpoint, AnyLayoutLoadsAnyOther) {
  const Directory run;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    save(run.path, static_cast<int64_t>(seed), 3, 0, seed);
    EXPECT_TRUE(loads(run.path, static_cast<int64_t>(seed), seed + 100, 2)) << seed;
    EXPECT_TRUE(loads(run.path, static_cast<int64_t>(seed), seed + 200, 5)) << seed;
  }
}

TEST(Checkpoint, OfOneRank) {
  const Directory run;
  const auto self = make_self_communicator("self");
  CheckpointStore store(run.path, *self);
  Cut saved(model(), 3, 1), loaded(model(), 4, 1);
  saved.fill(7);
  store.save(state_at(7), saved.of_rank[0], 0);
  std::vector<std::string> report;
  const auto info = store.latest_valid(report);
  ASSERT_TRUE(info);
  EXPECT_TRUE(report.empty());
  store.load(*info, loaded.of_rank[0]);
  EXPECT_TRUE(loaded.holds(7));
  EXPECT_EQ(info->writers, 1);
  int64_t bytes = 0;
  for (const Tensor& tensor : model()) bytes += 4 * tensor.shape.count();
  EXPECT_EQ(store.bytes_read(), bytes) << "each byte once";
}

TEST(Checkpoint, KeepsTheRunState) {
  const Directory run;
  save(run.path, 9, 2);
  const RunState found = read_manifest(run.path / "checkpoints/step_00000009").state, wanted = state_at(9);
  EXPECT_EQ(found.step, wanted.step);
  EXPECT_EQ(found.applied, wanted.applied);
  EXPECT_EQ(found.samples_consumed, wanted.samples_consumed);
  EXPECT_EQ(found.skipped, wanted.skipped);
  EXPECT_EQ(found.skipped_in_row, wanted.skipped_in_row);
  EXPECT_EQ(found.config_yaml, wanted.config_yaml);
  EXPECT_EQ(found.tokenizer, wanted.tokenizer);
  EXPECT_EQ(found.tokenizer_hash, wanted.tokenizer_hash);
  EXPECT_EQ(found.dataset_hash, wanted.dataset_hash);
  EXPECT_EQ(found.build, wanted.build);
  EXPECT_EQ(found.instruction_set, wanted.instruction_set);
  EXPECT_EQ(found.threads, wanted.threads);
  EXPECT_EQ(found.layout, wanted.layout);
  EXPECT_EQ(found.products, wanted.products);
  EXPECT_EQ(found.tokens, wanted.tokens);
  EXPECT_EQ(found.order, wanted.order);
}

// The HDF5 library itself reads whole tensors through index.h5.
void expect_whole_tensors(const fs::path& index, int64_t step) {
  const hid_t file = H5Fopen(index.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  for (const Tensor& tensor : model()) {
    const hid_t dataset = H5Dopen2(file, (tensor.array + "/" + tensor.name).c_str(), H5P_DEFAULT);
    ASSERT_GE(dataset, 0) << tensor.name;
    std::vector<uint32_t> read(static_cast<size_t>(tensor.shape.count()));
    ASSERT_GE(H5Dread(dataset, H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, read.data()), 0);
    for (size_t i = 0; i < read.size(); ++i)
      ASSERT_EQ(read[i], bits_at(tensor, step, static_cast<int64_t>(i))) << tensor.array << " " << tensor.name << " " << i;
    H5Dclose(dataset);
  }
  H5Fclose(file);
}

TEST(Checkpoint, IndexShowsWholeTensors) {
  const Directory run;
  save(run.path, 2, 3);
  expect_whole_tensors(run.path / "checkpoints/step_00000002/index.h5", 2);
}

TEST(Checkpoint, IndexOfManyRectanglesIsMadeOnDemand) {
  const Directory run;
  Cut cut(model(), 1, 1);
  cut.fill(2);
  const std::unique_ptr<Communicator> alone = make_self_communicator("world");
  CheckpointStore store(run.path, *alone);
  store.index_up_to(3);
  store.save(state_at(2), cut.of_rank[0], 0);
  const fs::path checkpoint = run.path / "checkpoints/step_00000002";
  EXPECT_EQ(names_in(checkpoint), (std::vector<std::string>{"manifest.pb", "rank_00000.h5"}));
  EXPECT_TRUE(loads(run.path, 2));
  write_index(checkpoint);
  expect_whole_tensors(checkpoint / "index.h5", 2);
  EXPECT_TRUE(verify_checkpoint(checkpoint).empty());
  EXPECT_EQ(names_in(checkpoint), (std::vector<std::string>{"index.h5", "manifest.pb", "rank_00000.h5"}));
}

ino_t inode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_ino;
}

// The manifest vouches for the bytes of an index: a sound one is never opened for writing, a damaged one is replaced whole.
TEST(Checkpoint, IndexThatIsSoundStaysAndADamagedOneIsMadeAgain) {
  const Directory run;
  save(run.path, 2, 3);
  const fs::path checkpoint = run.path / "checkpoints/step_00000002", index = checkpoint / "index.h5";
  const std::string whole = bytes_of(index);
  const fs::file_time_type before = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(index, before);
  write_index(checkpoint);
  EXPECT_EQ(fs::last_write_time(index), before);
  for (const std::string& damaged : {whole.substr(0, 100), std::string("no HDF5")}) {
    std::ofstream(index, std::ios::binary | std::ios::trunc) << damaged;
    EXPECT_FALSE(verify_checkpoint(checkpoint).empty());
    const ino_t old = inode_of(index);
    write_index(checkpoint);
    EXPECT_TRUE(bytes_of(index) == whole);
    EXPECT_NE(inode_of(index), old);
  }
  fs::remove(index);
  write_index(checkpoint);
  EXPECT_TRUE(verify_checkpoint(checkpoint).empty());
  EXPECT_EQ(names_in(checkpoint).size(), 5u) << "no temporary is left";
}

TEST(Checkpoint, EqualStatesGiveEqualBytes) {
  const Directory run;
  save(run.path / "a", 5, 3);
  save(run.path / "b", 5, 3);
  const fs::path a = run.path / "a/checkpoints/step_00000005", b = run.path / "b/checkpoints/step_00000005";
  EXPECT_EQ(names_in(a), (std::vector<std::string>{"index.h5", "manifest.pb", "rank_00000.h5", "rank_00001.h5", "rank_00002.h5"}));
  EXPECT_EQ(names_in(a), names_in(b));
  for (const std::string& name : names_in(a)) EXPECT_TRUE(bytes_of(a / name) == bytes_of(b / name)) << name;
}

TEST(Checkpoint, SavedAgainReplacesItself) {
  const Directory run;
  save(run.path, 5, 3);
  save(run.path, 5, 2, 0, 8);
  EXPECT_TRUE(loads(run.path, 5));
  EXPECT_EQ(read_manifest(run.path / "checkpoints/step_00000005").writers, 2);
  EXPECT_EQ(names_in(run.path / "checkpoints"), (std::vector<std::string>{"LATEST", "step_00000005"}));
}

TEST(Checkpoint, KeepsTheNewest) {
  const Directory run;
  for (int64_t step = 1; step <= 5; ++step) save(run.path, step, 2, 2);
  EXPECT_EQ(names_in(run.path / "checkpoints"), (std::vector<std::string>{"LATEST", "step_00000004", "step_00000005"}));
  EXPECT_EQ(bytes_of(run.path / "checkpoints/LATEST"), "step_00000005\n");
  for (int64_t step = 6; step <= 8; ++step) save(run.path, step, 2, 0);
  EXPECT_EQ(list_checkpoints(run.path).size(), 5u);
  EXPECT_EQ(list_checkpoints(run.path).front().step, 8);
}

TEST(Checkpoint, NoneIsNoError) {
  const Directory run;
  std::vector<std::string> report;
  EXPECT_EQ(latest_step(run.path, report), -1);
  EXPECT_TRUE(report.empty());
}

TEST(Checkpoint, SetsAsideWhatIsNewer) {
  const Directory run;
  for (int64_t step = 1; step <= 4; ++step) save(run.path, step);
  fs::remove(run.path / "checkpoints/step_00000004/manifest.pb");
  run_ranks(2, [&](Communicator& world) {
    CheckpointStore store(run.path, world);
    std::vector<std::string> report;
    store.latest_valid(report);
    store.set_aside_after(2);
  });
  EXPECT_EQ(
      names_in(run.path / "checkpoints"),
      (std::vector<std::string>{"LATEST", "abandoned_step_00000003", "damaged_step_00000004", "step_00000001", "step_00000002"}));
  EXPECT_EQ(bytes_of(run.path / "checkpoints/LATEST"), "step_00000002\n");
  save(run.path, 3);
  run_ranks(2, [&](Communicator& world) { CheckpointStore(run.path, world).set_aside_after(2); });
  EXPECT_TRUE(fs::exists(run.path / "checkpoints/abandoned_step_00000003_1")) << "names that are taken are left alone";
  EXPECT_EQ(latest_step(run.path), 2);
  run_ranks(2, [&](Communicator& world) { CheckpointStore(run.path, world).set_aside_after(0); });
  EXPECT_FALSE(fs::exists(run.path / "checkpoints/LATEST")) << "it would name nothing";
}

// No checkpoints and checkpoints that cannot be seen are two things: the second is never a fresh start.
TEST(Checkpoint, DirectoryThatCannotBeReadIsAnError) {
  const Directory run;
  write_bytes(run.path / "checkpoints", "a file");
  expect_has(error_of(ExitCode::resume, [&] { list_checkpoints(run.path); }), "cannot be read: Not a directory");
  const auto self = make_self_communicator("self");
  std::vector<std::string> report;
  expect_has(error_of(ExitCode::resume, [&] { CheckpointStore(run.path, *self).latest_valid(report); }), "cannot be read");
}

TEST(CheckpointLoad, RefusesAnotherModel) {
  const Directory run;
  save(run.path, 1);
  const auto self = make_self_communicator("self");
  CheckpointStore store(run.path, *self);
  const CheckpointInfo info = store.verified(run.path / "checkpoints/step_00000001");
  std::vector<float> data(1000);
  const Piece unknown{"master", "model.other.weight", Shape{3}, {Shape{0}, Shape{3}}, data.data()};
  expect_has(error_of(ExitCode::resume, [&] { store.load(info, {&unknown, 1}); }), "model.other.weight");
  const Piece larger{"master", "model.norm.weight", Shape{30}, {Shape{0}, Shape{3}}, data.data()};
  expect_has(error_of(ExitCode::resume,
                      [&] {
                        store.load(info, {&larger, 1});
                      }),
             "model.norm.weight has shape [29], this model's has [30]");
}

TEST(CheckpointLoad, RefusesGaps) {
  const Directory run;
  Cut cut(model(), 5, 2);
  cut.fill(1);
  cut.of_rank[0].pop_back();
  save(run.path, cut, 1, 0, [](int, const std::string&) {});
  expect_has(error_of(ExitCode::resume, [&] { loads(run.path, 1); }), "is covered");
}

TEST(CheckpointCompare, LooksThroughLayouts) {
  const Directory run;
  Cut a(model(), 1, 2), b(model(), 2, 3);
  const auto fill = [](Cut& cut, float shift) {
    for (auto& pieces : cut.of_rank)
      for (Piece& piece : pieces)
        std::fill_n(piece.data, piece.rectangle.extent.count(), 2.0f + (piece.name == "model.norm.weight" ? shift : 0));
  };
  fill(a, 0), fill(b, 0);
  const auto none = [](int, const std::string&) {};
  save(run.path / "a", a, 1, 0, none), save(run.path / "b", b, 1, 0, none);
  const fs::path step = "checkpoints/step_00000001";
  for (const TensorDifference& difference : compare_checkpoints(run.path / "a" / step, run.path / "b" / step)) {
    EXPECT_TRUE(difference.equal_bits) << difference.name;
    EXPECT_EQ(difference.relative, 0);
  }
  fill(b, 0.5f);
  save(run.path / "b", b, 1, 0, none);
  const auto differences = compare_checkpoints(run.path / "a" / step, run.path / "b" / step);
  EXPECT_EQ(differences.size(), model().size());
  for (const TensorDifference& difference : differences) {
    EXPECT_EQ(difference.equal_bits, difference.name != "model.norm.weight");
    EXPECT_DOUBLE_EQ(difference.relative, difference.equal_bits ? 0 : 0.25);
    EXPECT_DOUBLE_EQ(difference.largest, difference.equal_bits ? 0 : 0.5);
  }
}

}  // namespace
}  // namespace drover
