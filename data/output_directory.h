// A directory of shards while it is made: one process at a time, a mark when it is finished, and nothing of others touched.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/base/files.h"

namespace drover {

class OutputDirectory {
 public:
  // Makes and locks it. Throws Error(data) when another process has it, when it holds *.tokens of another origin, which training would
  // read, or the shards of a prepare that was stopped.
  explicit OutputDirectory(std::filesystem::path directory);
  // Removes what earlier processes left; from here on it is not finished.
  void clear();
  std::filesystem::path next_shard();  // shard_00000.tokens and so on. Throws Error(data) after 100,000
  int64_t shards() const { return shards_; }
  // Writes prepare.json: from here on it is finished.
  void finish(const nlohmann::json& made_from, int64_t tokens, int64_t documents) const;

 private:
  std::filesystem::path directory_;
  std::optional<File> lock_;
  int64_t shards_ = 0;
};

}  // namespace drover
