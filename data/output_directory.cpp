#include "data/output_directory.h"

#include <fmt/format.h>

#include "data/shard_directory.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr int64_t kMostShards = 100000;  // of five digits: they are read in the order of their names

}  // namespace

OutputDirectory::OutputDirectory(std::filesystem::path directory) : directory_(std::move(directory)) {
  require_no_other_shards(directory_);
  if (std::filesystem::exists(directory_ / "prepare.journal"))
    throw Error(ExitCode::data, directory_.string() +
                                    " holds what a prepare that was stopped has made; finish or remove it, or choose "
                                    "another --out");
  make_directories(directory_);
  lock_ = lock_file(directory_ / "prepare.lock");
  if (!lock_)
    throw Error(ExitCode::data, fmt::format("{} is being prepared by another process ({}); wait for it, or choose another --out",
                                            directory_.string(), read_text(directory_ / "prepare.lock")));
}

void OutputDirectory::clear() { clear_shards(directory_); }

std::filesystem::path OutputDirectory::next_shard() {
  if (shards_ == kMostShards)
    throw Error(ExitCode::data,
                fmt::format("{}: more than {} shards, whose names would be out of order; a larger --shard-tokens makes fewer",
                            directory_.string(), kMostShards));
  return directory_ / fmt::format("shard_{:05d}.tokens", shards_++);
}

void OutputDirectory::finish(const nlohmann::json& made_from, int64_t tokens, int64_t documents) const {
  finish_directory(directory_, {{"made_from", made_from}, {"documents", documents}, {"tokens", tokens}, {"shards", shards_}});
}

}  // namespace drover
