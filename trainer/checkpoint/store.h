// Checkpoints of one run directory: docs/checkpoint_format.md. Published whole or not at all; read only after its hash was verified.
#pragma once
#include <filesystem>
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
  std::string problem;  // empty: the manifest verifies
};

class CheckpointStore {
 public:
  // `run_directory`/checkpoints. Collective calls go over `world`; a world of one needs no MPI.
  CheckpointStore(std::filesystem::path run_directory, Communicator& world);

  // Collective. Each rank passes the rectangles it owns (disjoint over all ranks; possibly none); rank 0's state is stored. On return
  // the checkpoint is published and older ones beyond `keep` (0: all are kept) are removed. A failure on any rank (full disk) is
  // Error(storage) on all, with the first cause, and leaves earlier checkpoints as they were.
  void save(const RunState& state, std::span<const Piece> pieces, int64_t keep);

  // Collective. The newest checkpoint whose manifest and every file verify (hashing is spread over the ranks), with one line for each
  // that was skipped and why in `report`. nullopt: there is none.
  std::optional<CheckpointInfo> latest_valid(std::vector<std::string>& report);
  // Collective. The same for one directory; throws Error(resume) naming what is damaged.
  CheckpointInfo verified(const std::filesystem::path& checkpoint);

  // Collective. Fills every piece's data from the verified checkpoint; pieces may cut the stored rectangles in any way. Throws
  // Error(resume) for a tensor that is missing or has another shape, naming it.
  void load(const CheckpointInfo& info, std::span<const Piece> pieces);

  // Collective. Before training goes on from an older step: newer checkpoints are renamed to abandoned_*, damaged ones to damaged_*.
  void set_aside_after(int64_t step);

 private:
  std::filesystem::path directory_;
  Communicator& world_;
};

// Without MPI, for `drover checkpoint list | inspect | verify` and for resume's look at the saved configuration.
std::vector<CheckpointInfo> list_checkpoints(const std::filesystem::path& run_directory);  // newest first
CheckpointInfo read_manifest(const std::filesystem::path& checkpoint);                     // throws Error(resume)
std::vector<std::string> verify_checkpoint(const std::filesystem::path& checkpoint);       // every problem, in words
std::string describe_checkpoint(const std::filesystem::path& checkpoint);                  // tensors, shapes, files, state

}  // namespace drover
