#include "trainer/checkpoint/store.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/base/files.h"
#include "kernels/base/hash.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/writer.h"

namespace drover {
namespace {

namespace fs = std::filesystem;

// Runs `body`; what it throws as text, "" for nothing.
template <class Body> std::string problem_of(Body&& body) {
  try {
    body();
    return "";
  } catch (const std::exception& error) {
    return message_of(error);
  }
}

CheckpointInfo info_of(const fs::path& path, const pb::Manifest& manifest) {
  CheckpointInfo info;
  info.path = path;
  info.state = from_proto(manifest.state());
  info.step = info.state.step;
  for (const pb::File& file : manifest.files()) {
    info.bytes += file.bytes();
    info.writers += file.name() != kIndexName;
  }
  return info;
}

// A name that nothing has yet.
fs::path unused(const fs::path& wanted) {
  fs::path candidate = wanted;
  for (int i = 1; fs::exists(candidate); ++i) candidate = wanted.string() + "_" + std::to_string(i);
  return candidate;
}

// A step that is saved again replaces itself: exchanged in one system call where the file system can, so that the step is there at every
// instant; else moved away whole first.
void publish(const fs::path& temporary, const fs::path& final_path, const fs::path& directory) {
  if (!fs::exists(final_path)) {
    fs::rename(temporary, final_path);
    return sync_directory(directory);
  }
  fs::path replaced = temporary;
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) != 0) {
    replaced = unused(directory / ("replaced_" + final_path.filename().string()));
    fs::rename(final_path, replaced);
    fs::rename(temporary, final_path);
  }
  sync_directory(directory);
  fs::remove_all(replaced);
}

}  // namespace

CheckpointStore::CheckpointStore(const fs::path& run_directory, Communicator& world)
    : directory_(run_directory / "checkpoints"), world_(world) {}

void CheckpointStore::agree(const std::string& problem, const std::string& failure) {
  const std::vector<std::string> problems = world_.gather_text(problem);
  for (size_t rank = 0; rank < problems.size(); ++rank)
    if (!problems[rank].empty())
      throw Error(ExitCode::storage,
                  fmt::format("{}, rank {}: {}; earlier checkpoints are as they were", failure, rank, problems[rank]));
}

void CheckpointStore::save(const RunState& state, std::span<const Piece> pieces, int64_t keep) {
  const std::string name = step_directory_name(state.step);
  const fs::path temporary = directory_ / (".tmp_" + name), final_path = directory_ / name;
  const bool root = world_.rank() == 0;
  const auto clean_up = [&] {
    std::error_code ignored;
    if (root) fs::remove_all(temporary, ignored);
  };
  const auto hook = [this](const char* stage_name) { stage(stage_name); };
  try {
    agree(problem_of([&] {
      if (!root) return;
      make_directories(directory_);
      for (const auto& entry : fs::directory_iterator(directory_))  // of saves that were killed
        if (entry.path().filename().string().starts_with(".tmp_")) fs::remove_all(entry.path());
      fs::create_directory(temporary);
    }));
    stage("directory made");
    pb::File mine;
    std::string problem = problem_of([&] {
      if (!pieces.empty()) mine = write_rank_file(temporary, fmt::format("rank_{:05d}.h5", world_.rank()), pieces, hook);
    });
    agree(problem);
    const std::vector<std::string> files = world_.gather_text(mine.SerializeAsString());
    agree(problem_of([&] {
      if (!root) return;
      pb::Manifest manifest;
      *manifest.mutable_state() = to_proto(state);
      for (const std::string& bytes : files) {
        pb::File file;
        DROVER_CHECK(file.ParseFromString(bytes), "a rank's file description");
        if (!file.name().empty()) *manifest.add_files() = file;
      }
      if (rectangle_count(manifest) <= max_indexed_) *manifest.add_files() = write_index_file(temporary, kIndexName, manifest);
      stage("index written");
      write_durably(temporary / "manifest.pb", encode_manifest(manifest));
      stage("manifest written");
      sync_directory(temporary);
      publish(temporary, final_path, directory_);
      stage("published");
    }));
    agree(problem_of([&] {
            if (!root) return;
            write_durably(directory_ / "LATEST", name + "\n");
            stage("LATEST replaced");
            prune(keep);
          }),
          "checkpoint " + name + " is saved, but LATEST or the removal of old ones is not");
  } catch (...) {
    clean_up();
    throw;
  }
}

void CheckpointStore::prune(int64_t keep) const {
  if (keep == 0) return;
  const std::vector<fs::path> all = step_directories(directory_);
  for (size_t i = static_cast<size_t>(keep); i < all.size(); ++i) {
    // Renamed first: a directory that is half removed must not look like a checkpoint.
    const fs::path doomed = directory_ / (".tmp_removed_" + all[i].filename().string());
    fs::rename(all[i], doomed);
    fs::remove_all(doomed);
  }
}

std::vector<std::string> CheckpointStore::verify_files(const CheckpointInfo& info) {
  const pb::Manifest manifest = load_manifest(info.path);
  // Each file's stripes are dealt out over neighbours in the ring of ranks: all ranks have work, however many have written, no rank opens
  // many files, and none reads all of a tensor of more than a stripe.
  const int64_t ranks = world_.size(), files = manifest.files_size();
  std::string mine;
  for (int64_t i = 0; i < files; ++i) {
    const int64_t readers = std::min(ranks, std::max<int64_t>(8, ranks / files + 1)), first = i * ranks / files,
                  place = (world_.rank() - first + ranks) % ranks;
    if (place >= readers) continue;
    if (const std::string problem = check_stripes(info.path, manifest.files(static_cast<int>(i)), place, readers, bytes_verified_);
        !problem.empty())
      mine += problem + "\n";
  }
  std::vector<std::string> problems;
  for (const std::string& text : world_.gather_text(mine))
    for (size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1)
      problems.push_back(text.substr(begin, text.find('\n', begin) - begin));
  return problems;
}

std::optional<CheckpointInfo> CheckpointStore::latest_valid(std::vector<std::string>& report) {
  std::string names;
  if (world_.rank() == 0)
    for (const fs::path& path : step_directories(directory_)) names += path.filename().string() + "\n";
  names = world_.gather_text(names).front();  // one rank's view: all take the same decisions
  damaged_.clear();
  for (size_t begin = 0; begin < names.size(); begin = names.find('\n', begin) + 1) {
    const fs::path path = directory_ / names.substr(begin, names.find('\n', begin) - begin);
    CheckpointInfo info;
    std::string problem;
    const std::string unreadable = problem_of([&] { info = read_manifest(path); });
    for (const std::string& text : world_.gather_text(unreadable))
      if (!text.empty()) problem = text;
    if (problem.empty())
      if (const std::vector<std::string> problems = verify_files(info); !problems.empty())
        problem = "checkpoint " + path.string() + ": " + problems.front();
    if (problem.empty()) return info;
    damaged_.push_back(path);
    report.push_back("skipped " + problem);
  }
  return std::nullopt;
}

CheckpointInfo CheckpointStore::verified(const fs::path& checkpoint) {
  CheckpointInfo info = read_manifest(checkpoint);
  if (const std::vector<std::string> problems = verify_files(info); !problems.empty())
    throw Error(ExitCode::resume, "checkpoint " + checkpoint.string() + ": " + problems.front());
  return info;
}

void CheckpointStore::set_aside_after(int64_t step) {
  agree(problem_of([&] {
          if (world_.rank() != 0) return;
          for (const fs::path& path : step_directories(directory_)) {
            const bool broken = std::find(damaged_.begin(), damaged_.end(), path) != damaged_.end();
            if (!broken && step_of_directory(path.filename()) <= step) continue;
            fs::rename(path, unused(directory_ / ((broken ? "damaged_" : "abandoned_") + path.filename().string())));
          }
          if (fs::exists(directory_)) sync_directory(directory_);
          if (!fs::exists(directory_ / "LATEST")) return;
          if (const std::vector<fs::path> left = step_directories(directory_); left.empty())
            fs::remove(directory_ / "LATEST");
          else
            write_durably(directory_ / "LATEST", left.front().filename().string() + "\n");
        }),
        "newer or damaged checkpoints are not put aside");
  damaged_.clear();  // their names may be saved anew
}

std::vector<CheckpointInfo> list_checkpoints(const fs::path& run_directory) {
  std::vector<CheckpointInfo> all;
  for (const fs::path& path : step_directories(run_directory / "checkpoints")) {
    CheckpointInfo info;
    std::string problem;
    const std::string unreadable = problem_of([&] {
      const pb::Manifest manifest = load_manifest(path);
      info = info_of(path, manifest);
      for (const pb::File& file : manifest.files())
        if (problem.empty()) problem = check_size(path, file);
    });
    if (!fs::exists(path)) continue;  // removed meanwhile, by a run that keeps the newest ones only
    if (!unreadable.empty()) problem = unreadable;
    if (!problem.empty()) {
      info = {};
      info.path = path;
      info.step = step_of_directory(path.filename());
      info.problem = problem;
    }
    all.push_back(info);
  }
  return all;
}

CheckpointInfo read_manifest(const fs::path& checkpoint) { return info_of(checkpoint, load_manifest(checkpoint)); }

std::vector<std::string> verify_checkpoint(const fs::path& checkpoint) {
  std::vector<std::string> problems;
  const std::string unreadable = problem_of([&] {
    const pb::Manifest manifest = load_manifest(checkpoint);
    for (const pb::File& file : manifest.files())
      if (const std::string problem = check_file(checkpoint, file); !problem.empty()) problems.push_back(problem);
  });
  if (!unreadable.empty()) problems.push_back(unreadable);
  return problems;
}

void write_index(const fs::path& checkpoint) {
  const pb::Manifest manifest = load_manifest(checkpoint);
  const pb::File* listed = nullptr;
  for (const pb::File& file : manifest.files())
    if (file.name() == kIndexName) listed = &file;
  if (listed != nullptr && check_file(checkpoint, *listed).empty()) return;
  const fs::path temporary = checkpoint / (std::string(kIndexName) + ".tmp");
  try {
    const pb::File written = write_index_file(checkpoint, temporary.filename(), manifest);
    if (listed != nullptr && !std::ranges::equal(written.stripes(), listed->stripes()))
      throw Error(ExitCode::resume,
                  "checkpoint " + checkpoint.string() +
                      ": index.h5 is damaged, and this version of HDF5 lays it out in other bytes than the manifest names");
    fs::rename(temporary, checkpoint / kIndexName);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
  sync_directory(checkpoint);
}

}  // namespace drover
