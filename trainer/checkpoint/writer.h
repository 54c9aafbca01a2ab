// The files of one checkpoint, written once, front to back, hashed on the way.
#pragma once
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "trainer/checkpoint/manifest.h"

namespace drover {

// This rank's rectangles as `name` in `directory`: laid out by HDF5, space reserved, written, synced.
pb::File write_rank_file(const std::filesystem::path& directory, const std::string& name, std::span<const Piece> pieces,
                         const std::function<void(const char*)>& stage);

// index.h5 over the manifest's rectangles, as `name` in `directory`: written and synced.
inline constexpr const char* kIndexName = "index.h5";
int64_t rectangle_count(const pb::Manifest& manifest);
pb::File write_index_file(const std::filesystem::path& directory, const std::string& name, const pb::Manifest& manifest);

}  // namespace drover
