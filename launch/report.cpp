#include <fmt/format.h>

#include "kernels/base/files.h"
#include "launch/commands.h"
#include "trainer/report/page.h"

namespace drover {

int report_command(const std::string& run_directory, const std::string& out) {
  const std::filesystem::path path =
      out.empty() ? std::filesystem::path(run_directory) / "report.html" : std::filesystem::path(out);
  write_durably(path, report_page(run_directory));
  fmt::print("{}\n", path.string());
  return 0;
}

}  // namespace drover
