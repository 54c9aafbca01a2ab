#include "data/shard_directory.h"

#include <fmt/format.h>

#include <regex>

#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

// By the names that ShardNames and OutputDirectory give.
bool is_own(const std::filesystem::directory_entry& entry) {
  static const std::regex own(R"((unit_[0-9]{5}_)?shard_[0-9]{5}\.tokens(\.tmp)?)");
  return !entry.is_directory() && std::regex_match(entry.path().filename().string(), own);
}

bool shards_open(const std::filesystem::path& directory) {
  try {
    for (const auto& path : list_shards(directory)) Shard{path};
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

void require_no_other_shards(const std::filesystem::path& directory) {
  std::error_code not_there_yet;
  for (const auto& entry : std::filesystem::directory_iterator(directory, not_there_yet))
    if (entry.path().extension() == ".tokens" && !is_own(entry))
      throw Error(ExitCode::data, fmt::format("{} was not made by drover, and training would read it as part of the data in {}; "
                                              "move it away, or choose another --out",
                                              entry.path().string(), directory.string()));
}

std::optional<PreparedTotals> find_finished(const std::filesystem::path& directory, const nlohmann::json& made_from) {
  const auto path = directory / "prepare.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto found = nlohmann::json::parse(read_text(path), nullptr, false);
  if (found.is_discarded() || !found.contains("made_from") || found["made_from"] != made_from)
    throw Error(ExitCode::data,
                directory.string() + " already holds shards of other inputs or options; choose another --out, or remove it");
  const PreparedTotals totals = read_totals(directory);
  if (totals.shards > 0 && !shards_open(directory)) return std::nullopt;
  return totals;
}

void unfinish(const std::filesystem::path& directory) {
  if (std::filesystem::remove(directory / "prepare.json")) sync_directory(directory);
}

void clear_shards(const std::filesystem::path& directory) {
  unfinish(directory);
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (is_own(entry)) std::filesystem::remove(entry.path());
}

void finish_directory(const std::filesystem::path& directory, const nlohmann::json& json) {
  write_durably(directory / "prepare.json", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace drover
