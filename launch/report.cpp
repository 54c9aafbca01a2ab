#include <fmt/format.h>

#include "kernels/base/files.h"
#include "launch/commands.h"
#include "trainer/report/page.h"

namespace drover {

int report_command(const std::string& run_directory, const std::string& out) {
  namespace fs = std::filesystem;
  fs::path path = out.empty() ? fs::path(run_directory) / "report.html" : fs::path(out);
  // The page is written beside it and takes its place: a device would become a file, a link would go.
  std::error_code none;
  if (fs::exists(path, none) && !fs::is_regular_file(path, none))
    throw Error(ExitCode::config, fmt::format("--out {}: not a file, but a directory or a device", path.string()));
  for (int links = 0; fs::is_symlink(path, none) && links < 40; ++links) path = path.parent_path() / fs::read_symlink(path);
  write_durably(path, report_page(run_directory));
  fmt::print("{}\n", path.string());
  return 0;
}

}  // namespace drover
