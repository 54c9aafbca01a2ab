// Checkpoints of one run directory: docs/checkpoint_format.md. Published whole or not at all; read only after its hash was verified.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/checkpoint/piece.h"

namespace drover {

struct CheckpointInfo {
  std::filesystem::path path;
  int64_t step = -1;
  int writers = 0;
  int64_t bytes = 0;
  RunState state;
  std::string problem;  // empty: the manifest verifies, and every file has the size that it names
};

class CheckpointStore {
 public:
  // `run_directory`/checkpoints. Collective calls go over `world`; a world of one needs no MPI.
  CheckpointStore(const std::filesystem::path& run_directory, Communicator& world);

  // Collective. Each rank passes the rectangles it owns (disjoint over all ranks; possibly none); rank 0's state is stored. On return
  // the checkpoint is published and older ones beyond `keep` (0: all are kept) are removed. A failure on any rank (full disk) is
  // Error(storage) on all, with the first cause, and leaves earlier checkpoints as they were.
  void save(const RunState& state, std::span<const Piece> pieces, int64_t keep);

  // Collective. The newest checkpoint whose manifest and every file verify (each stripe is hashed by one of the ranks), with one line for each
  // that was skipped and why in `report`. nullopt: there is none.
  std::optional<CheckpointInfo> latest_valid(std::vector<std::string>& report);
  // Collective. The same for one directory; throws Error(resume) naming what is damaged.
  CheckpointInfo verified(const std::filesystem::path& checkpoint);

  // Collective. Fills every piece's data from the verified checkpoint; pieces may cut the stored rectangles in any way. Throws
  // Error(resume) for a tensor that is missing or has another shape, naming it.
  void load(const CheckpointInfo& info, std::span<const Piece> pieces);

  // Collective. Before training goes on from an older step: newer checkpoints are renamed to abandoned_*, damaged ones to damaged_*,
  // and LATEST names the newest that is left.
  void set_aside_after(int64_t step);

  // Called at each named stage of a save, on every rank: where the fault tests kill the process or fill the disk.
  void on_stage(std::function<void(const char* stage)> hook) { hook_ = std::move(hook); }
  // Above so many rectangles a save leaves index.h5 out; write_index makes it on demand.
  void index_up_to(int64_t rectangles) { max_indexed_ = rectangles; }
  // What this rank has read: tensor bytes by load(), bytes of files by verifying them.
  int64_t bytes_read() const { return bytes_read_; }
  int64_t bytes_verified() const { return bytes_verified_; }

 private:
  void stage(const char* name) const {
    if (hook_) hook_(name);
  }
  // Every rank passes what went wrong with it ("" for nothing); all throw the lowest rank's Error(storage), or none does.
  void agree(const std::string& problem, const std::string& failure = "checkpoint not saved");
  std::vector<std::string> verify_files(const CheckpointInfo& info);
  void prune(int64_t keep) const;

  std::filesystem::path directory_;
  Communicator& world_;
  std::function<void(const char*)> hook_;
  std::vector<std::filesystem::path> damaged_;  // found by latest_valid
  int64_t max_indexed_ = 100000;
  int64_t bytes_read_ = 0, bytes_verified_ = 0;
};

// Without MPI, for `drover checkpoint list | inspect | verify` and for resume's look at the saved configuration.
std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& run_directory);  // newest first
CheckpointInfo read_manifest(const std::filesystem::path& checkpoint);                     // throws Error(resume)
std::vector<std::string> verify_checkpoint(const std::filesystem::path& checkpoint);       // every problem, in words
std::string describe_checkpoint(const std::filesystem::path& checkpoint);                  // tensors, shapes, files, state

// Writes index.h5 of a published checkpoint that has none (too large to index while training waited), or a damaged one; one that is sound
// stays. Throws Error(resume) when the bytes that the manifest names cannot be made again.
void write_index(const std::filesystem::path& checkpoint);

// One tensor of two checkpoints, whatever their layouts.
struct TensorDifference {
  std::string array, name;
  double relative = 0;  // norm(b - a) / norm(a)
  double largest = 0;   // max |b - a|
  bool equal_bits = false;
};
// Throws Error(resume) when a checkpoint is damaged, or the two hold different tensors.
std::vector<TensorDifference> compare_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace drover
