#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "launch/commands.h"

namespace drover {

// The benchmarks of single ops are a program of their own, which Google Benchmark drives; its options are passed on.
int bench_ops_command(const std::vector<std::string>& options) {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "kernels_benchmark";
  std::vector<char*> arguments{const_cast<char*>(program.c_str())};
  const std::vector<std::string> known{"list_tests",
                                       "filter",
                                       "min_time",
                                       "repetitions",
                                       "enable_random_interleaving",
                                       "report_aggregates_only",
                                       "display_aggregates_only",
                                       "format",
                                       "out",
                                       "out_format",
                                       "color",
                                       "counters_tabular",
                                       "context",
                                       "time_unit"};
  for (const std::string& option : options)
    if (std::none_of(known.begin(), known.end(), [&](const std::string& name) {
          const std::string flag = "--benchmark_" + name;
          return option == flag || option.starts_with(flag + "=");
        }))
      throw Error(ExitCode::config, fmt::format("bench ops: {} is no option of Google Benchmark's: --benchmark_{{{}}}=VALUE "
                                                "(JSON: --benchmark_format=json)",
                                                option, fmt::join(known, ", ")));
  for (const std::string& option : options) arguments.push_back(const_cast<char*>(option.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  throw Error(ExitCode::config, program.string() +
                                    " is not built: cmake --preset release -DDROVER_TESTS=ON && cmake --build --preset release "
                                    "--target kernels_benchmark (needs libbenchmark-dev)");
}

}  // namespace drover
