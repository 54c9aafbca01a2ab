// Damaged checkpoints are found by all ranks together, wherever the damage lies, and the one before is taken.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/trainer/checkpoint/testing.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/store.h"

namespace drover {
namespace {

using namespace checkpoint_testing;  // NOLINT: the tests' own vocabulary

void flip_a_bit(const fs::path& path, int64_t place) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(place);
  const int byte = file.get();
  file.seekp(place);
  file.put(static_cast<char>(byte ^ 0x10));
}

// Does `damage` to every file of the newest checkpoint in turn: each time the previous one is taken, and the report says why.
template <class Damage> void expect_fallback(Damage&& damage) {
  const Directory run;
  save(run.path, 1), save(run.path, 2);
  const fs::path checkpoint = run.path / "checkpoints/step_00000002", kept = run.path / "kept";
  fs::copy(checkpoint, kept, fs::copy_options::recursive);
  for (const std::string& name : names_in(kept)) {
    damage(checkpoint, name);
    std::vector<std::string> report;
    EXPECT_EQ(latest_step(run.path, report), 1) << name;
    ASSERT_EQ(report.size(), 1u) << name;
    expect_has(report[0], name);
    expect_has(report[0], "step_00000002");
    EXPECT_FALSE(verify_checkpoint(checkpoint).empty()) << name;
    const auto self = make_self_communicator("self");
    expect_has(error_of(ExitCode::resume, [&] { CheckpointStore(run.path, *self).verified(checkpoint); }), name);
    fs::remove_all(checkpoint);
    fs::copy(kept, checkpoint, fs::copy_options::recursive);
    EXPECT_EQ(latest_step(run.path), 2) << "whole again";
  }
}

TEST(CheckpointDamage, OneFlippedBit) {
  for (const double place : {0.0, 0.37, 0.81, 1.0})
    expect_fallback([&](const fs::path& checkpoint, const std::string& name) {
      flip_a_bit(checkpoint / name, static_cast<int64_t>(place * static_cast<double>(fs::file_size(checkpoint / name) - 1)));
    });
}
TEST(CheckpointDamage, Truncated) {
  for (const double share : {0.0, 0.5, 0.9999})
    expect_fallback([&](const fs::path& checkpoint, const std::string& name) {
      fs::resize_file(checkpoint / name, static_cast<uintmax_t>(share * static_cast<double>(fs::file_size(checkpoint / name))));
    });
}
TEST(CheckpointDamage, Extended) {
  expect_fallback([](const fs::path& checkpoint, const std::string& name) {
    write_bytes(checkpoint / name, bytes_of(checkpoint / name) + '\0');
  });
}
TEST(CheckpointDamage, Deleted) {
  expect_fallback([](const fs::path& checkpoint, const std::string& name) { fs::remove(checkpoint / name); });
}
TEST(CheckpointDamage, ReplacedByTheSameFileOfAnotherStep) {
  expect_fallback([](const fs::path& checkpoint, const std::string& name) {
    if (name == "index.h5") return fs::remove(checkpoint / name), void();  // equal in both: see Deleted
    write_bytes(checkpoint / name, bytes_of(checkpoint.parent_path() / "step_00000001" / name));
  });
}

// Sound in itself, but not what its name says.
TEST(CheckpointDamage, ADirectoryUnderTheNameOfAnotherStep) {
  const Directory run;
  save(run.path, 1), save(run.path, 2);
  const fs::path checkpoints = run.path / "checkpoints";
  fs::remove_all(checkpoints / "step_00000002");
  fs::copy(checkpoints / "step_00000001", checkpoints / "step_00000002", fs::copy_options::recursive);
  std::vector<std::string> report;
  EXPECT_EQ(latest_step(run.path, report), 1);
  ASSERT_EQ(report.size(), 1u);
  expect_has(report[0], "step_00000002: manifest.pb is of step 1");
  fs::rename(checkpoints / "step_00000002", run.path / "best");
  EXPECT_TRUE(verify_checkpoint(run.path / "best/").empty()) << "a copy under a name of one's own is fine";
}

TEST(CheckpointDamage, OfAllLeavesNone) {
  const Directory run;
  save(run.path, 1), save(run.path, 2);
  for (const char* step : {"step_00000001", "step_00000002"}) fs::remove(run.path / "checkpoints" / step / "rank_00001.h5");
  std::vector<std::string> report;
  EXPECT_EQ(latest_step(run.path, report), -1);
  EXPECT_EQ(report.size(), 2u);
}

TEST(CheckpointDamage, OfTheManifestIsListed) {
  const Directory run;
  save(run.path, 1), save(run.path, 2);
  write_bytes(run.path / "checkpoints/step_00000002/manifest.pb", "not a manifest, but long enough");
  const auto all = list_checkpoints(run.path);
  ASSERT_EQ(all.size(), 2u);
  expect_has(all[0].problem, "checksum");
  EXPECT_EQ(all[1].problem, "");
}

// A manifest whose checksum is right and whose tensor cannot be: found by launch/fuzz manifest.
TEST(CheckpointDamage, TensorsLargerThanMemoryOrNumbers) {
  const Directory run;
  save(run.path, 1);
  const fs::path checkpoint = run.path / "checkpoints/step_00000001";
  const auto claim = [&](int64_t rows, int64_t columns) {
    pb::Manifest manifest = load_manifest(checkpoint);
    for (pb::File& file : *manifest.mutable_files())
      for (pb::Rectangle& r : *file.mutable_rectangles())
        if (r.global_size() == 2) r.set_global(0, rows), r.set_global(1, columns);
    write_bytes(checkpoint / "manifest.pb", encode_manifest(manifest));
  };
  claim(int64_t{1} << 40, 40);
  expect_has(error_of(ExitCode::resume, [&] { compare_checkpoints(checkpoint, checkpoint); }), "is covered");
  claim(int64_t{1} << 62, int64_t{1} << 62);
  expect_has(error_of(ExitCode::resume, [&] { load_manifest(checkpoint); }), "the manifest places");
}

// A manifest whose checksum is right, but that is of another version of the format, or speaks of more or fewer stripes than its files have.
TEST(CheckpointDamage, ManifestsOfAnotherForm) {
  const Directory run;
  save(run.path, 1);
  const fs::path checkpoint = run.path / "checkpoints/step_00000001";
  const pb::Manifest whole = load_manifest(checkpoint);
  pb::Manifest without = whole, more = whole;
  without.mutable_files(0)->clear_stripes();
  more.mutable_files(0)->add_stripes(1);
  for (const pb::Manifest& manifest : {without, more}) {
    write_bytes(checkpoint / "manifest.pb", encode_manifest(manifest));
    expect_has(error_of(ExitCode::resume, [&] { load_manifest(checkpoint); }), "checksums for the");
  }
  pb::Manifest older = whole;
  older.set_version(1);
  std::string bytes = older.SerializeAsString();
  const uint64_t hash = xxh3(bytes);
  bytes.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  write_bytes(checkpoint / "manifest.pb", bytes);
  expect_has(error_of(ExitCode::resume, [&] { load_manifest(checkpoint); }), "format version 1, this program reads version 2");
}

// Files are verified by all ranks together, each byte once, and nobody reads the whole of a large tensor.
TEST(CheckpointDamage, VerifyingIsDivided) {
  const std::vector<Tensor> large{{"master", "w", Shape{2048, 1024}}, {"m", "norm", Shape{29}}};
  for (const int writers : {1, 3, 9}) {
    const Directory run;
    Cut cut(large, 1, writers);
    save(run.path, cut, 1, 0, [](int, const std::string&) {});
    const fs::path checkpoint = run.path / "checkpoints/step_00000001";
    for (const int ranks : {1, 2, 5, 12}) {
      std::vector<int64_t> read(static_cast<size_t>(ranks));
      const auto verify = [&] {
        run_ranks(ranks, [&](Communicator& world) {
          CheckpointStore store(run.path, world);
          store.verified(checkpoint);
          read[static_cast<size_t>(world.rank())] = store.bytes_verified();
        });
      };
      verify();
      EXPECT_EQ(std::accumulate(read.begin(), read.end(), int64_t{0}), read_manifest(checkpoint).bytes);
      if (ranks > 1) {
        EXPECT_LT(*std::max_element(read.begin(), read.end()), 4 * large[0].shape.count()) << writers << " " << ranks;
      }
      // Damage is found wherever it lies.
      for (const std::string& name : names_in(checkpoint)) {
        if (name == "manifest.pb") continue;
        const int64_t bytes = static_cast<int64_t>(fs::file_size(checkpoint / name));
        for (int64_t place = bytes - 1; place >= 0; place -= kStripeBytes) {
          flip_a_bit(checkpoint / name, place);
          const int64_t begin = place / kStripeBytes * kStripeBytes;
          expect_has(error_of(ExitCode::resume, verify), name + ": the checksum of bytes " + std::to_string(begin) + " to ");
          flip_a_bit(checkpoint / name, place);
        }
      }
    }
  }
}

}  // namespace
}  // namespace drover
