// `drover report`: a run directory as one HTML page that needs nothing else: no network, no script to be read, light and dark. Reading
// only: a run may be training meanwhile.
#pragma once
#include <filesystem>
#include <string>

namespace drover {

// Throws Error(resume) when `run_directory` holds no run, or its configuration is of another version.
std::string report_page(const std::filesystem::path& run_directory);

}  // namespace drover
