// The directory that `prepare` fills, shared by all processes that do: who works on which unit, what is done, and what was made of what.
//
//   OUT/prepare.lock                      held for moments: whoever looks at or changes who does what
//   OUT/prepare.journal/plan.json         what is made of what; other processes with the same inputs and options take part
//   OUT/prepare.journal/unit_00000.lock   held by the process that works on the unit, and given back by the system when it dies
//   OUT/prepare.journal/unit_00000.shards how far it has come (data/unit_journal.h)
//   OUT/prepare.journal/unit_00000.survey, .made   what came out of the unit's stages
//   OUT/prepare.json, or OUT/train/prepare.json and OUT/validation/prepare.json   last; then the journal is removed
#pragma once
#include <array>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/shard.h"
#include "data/shard_set.h"
#include "kernels/base/files.h"

namespace drover {

enum class UnitStage : uint8_t { survey, make };

class PrepareOutput {
 public:
  // `parts`: names below `out` that hold shards, "" for `out` itself. `made_from`: whatever decides the shards.
  PrepareOutput(std::filesystem::path out, const std::vector<std::string>& parts, nlohmann::json made_from, int units);

  // What prepare.json says in all parts, when a finished prepare of the same made them and their shards open. Throws Error(data) when another did.
  std::optional<PreparedTotals> find_prepared() const;

  // Clears what an unfinished prepare left, or keeps it where it is of the same (`resumable`). Throws Error(data) when others work here, when
  // finished shards of other inputs would be lost, or when a *.tokens lies there that prepare did not make.
  void begin(bool resumable);

  // A unit whose stage is neither done nor worked on, with the lock on it; -1: none is free now.
  struct Claim {
    int unit = -1;
    std::optional<File> lock;
    bool all_done = false;  // the stage, in all units
  };
  Claim claim(UnitStage stage);
  void mark_done(UnitStage stage, int unit, std::string_view result) const;
  std::string result(UnitStage stage, int unit) const;

  // Runs `body` once, in whichever process comes first, when all units have done their stage; its result is a file of the journal with this name.
  // Nothing where another process finished the whole meanwhile.
  std::optional<std::string> once(const std::string& name, const std::function<std::string()>& body) const;

  // Writes a prepare.json to each part, unless another process did: made_from, and what `body` gives for the part.
  // `body` may throw; then nothing is finished.
  void finish(const std::function<nlohmann::json(size_t part)>& body) const;
  void clear() const;  // what prepare made here. REQUIRES: called by finish's `body`

  ShardNames names(size_t part, int unit) const;
  std::filesystem::path journal_file(int unit, const char* suffix) const;
  const std::vector<std::filesystem::path>& directories() const { return directories_; }

 private:
  File lock() const;
  bool plan_is_ours() const;
  bool going_on() const;
  void require_free_of(const std::string& why) const;
  void forget_damaged_units() const;

  std::filesystem::path out_, journal_;
  std::vector<std::filesystem::path> directories_;
  nlohmann::json made_from_;
  int units_;
  std::array<std::vector<bool>, 2> done_;  // of each stage, as far as was seen
};

}  // namespace drover
