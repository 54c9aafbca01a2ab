#include "data/output_directory.h"

#include <fmt/format.h>

#include <regex>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr int64_t kMostShards = 100000;  // of five digits: they are read in the order of their names

bool is_own(const std::filesystem::directory_entry& entry) {
  static const std::regex own(R"(shard_[0-9]{5}\.tokens(\.tmp)?)");
  return !entry.is_directory() && std::regex_match(entry.path().filename().string(), own);
}

}  // namespace

std::optional<PreparedTotals> find_finished(const std::filesystem::path& directory, const nlohmann::json& made_from) {
  const auto path = directory / "prepare.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto found = nlohmann::json::parse(read_text(path), nullptr, false);
  if (found.is_discarded() || !found.contains("made_from") || found["made_from"] != made_from)
    throw Error(ExitCode::data,
                directory.string() + " already holds shards of other inputs or options; choose another --out, or remove it");
  try {
    for (const auto& shard : list_shards(directory)) Shard{shard};
  } catch (const Error&) {
    return std::nullopt;
  }
  return read_totals(directory);
}

OutputDirectory::OutputDirectory(std::filesystem::path directory) : directory_(std::move(directory)) {
  std::error_code not_there_yet;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, not_there_yet))
    if (entry.path().extension() == ".tokens" && !is_own(entry))
      throw Error(ExitCode::data,
                  fmt::format("{} was not made by drover, and training would read it as part of the data in {}; move it "
                              "away, or choose another --out",
                              entry.path().string(), directory_.string()));
  make_directories(directory_);
  lock_ = lock_file(directory_ / "prepare.lock");
  if (!lock_)
    throw Error(ExitCode::data, fmt::format("{} is being prepared by another process ({}); wait for it, or choose another --out",
                                            directory_.string(), read_text(directory_ / "prepare.lock")));
}

void OutputDirectory::clear() {
  if (std::filesystem::remove(directory_ / "prepare.json")) sync_directory(directory_);
  for (const auto& entry : std::filesystem::directory_iterator(directory_))
    if (is_own(entry)) std::filesystem::remove(entry.path());
}

std::filesystem::path OutputDirectory::next_shard() {
  if (shards_ == kMostShards)
    throw Error(ExitCode::data,
                fmt::format("{}: more than {} shards, whose names would be out of order; a larger --shard-tokens makes fewer",
                            directory_.string(), kMostShards));
  return directory_ / fmt::format("shard_{:05d}.tokens", shards_++);
}

void OutputDirectory::finish(const nlohmann::json& made_from, int64_t tokens, int64_t documents) const {
  const nlohmann::json json = {{"made_from", made_from}, {"documents", documents}, {"tokens", tokens}, {"shards", shards_}};
  write_durably(directory_ / "prepare.json", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace drover
