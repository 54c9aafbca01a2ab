#include <fmt/format.h>

#include "launch/commands.h"

namespace drover {

int generate_command(const GenerateOptions& options) {
  GenerateOptions resolved = options;
  resolved.checkpoint = checkpoint_of(options.checkpoint);
  generate(resolved, [](std::string_view text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  });
  fmt::print("\n");
  return 0;
}

}  // namespace drover
