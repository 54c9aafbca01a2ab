// A directory of shards that Drover makes: which files in it are its own, and the prepare.json by which it is finished.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/shard.h"

namespace drover {

// Training reads every *.tokens of a directory as data. Throws Error(data) when one lies there that Drover did not make.
void require_no_other_shards(const std::filesystem::path& directory);

// What a finished directory holds when it was made from `made_from` and its shards open; nothing when there is none. Throws Error(data) when
// it was made from something else.
std::optional<PreparedTotals> find_finished(const std::filesystem::path& directory, const nlohmann::json& made_from);

// From here on it is not finished.
void unfinish(const std::filesystem::path& directory);
// Removes its own shards too, whole ones and begun ones.
void clear_shards(const std::filesystem::path& directory);

// Writes prepare.json: from here on it is finished.
void finish_directory(const std::filesystem::path& directory, const nlohmann::json& json);

}  // namespace drover
