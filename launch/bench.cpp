#include <unistd.h>

#include <filesystem>

#include "launch/commands.h"

namespace drover {

// The benchmarks of single ops are a program of their own, which Google Benchmark drives; its options are passed on.
int bench_ops_command(const std::vector<std::string>& options) {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "kernels_benchmark";
  std::vector<char*> arguments{const_cast<char*>(program.c_str())};
  for (const std::string& option : options) arguments.push_back(const_cast<char*>(option.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  throw Error(ExitCode::config, program.string() +
                                    " is not built: cmake --preset release -DDROVER_TESTS=ON && cmake --build --preset release "
                                    "--target kernels_benchmark (needs libbenchmark-dev)");
}

}  // namespace drover
