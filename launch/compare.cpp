#include <fmt/format.h>

#include "kernels/base/error.h"
#include "kernels/base/words.h"
#include "launch/commands.h"
#include "trainer/compare_runs.h"

namespace drover {
namespace {

// Enough digits for two values that differ to look different.
std::string line(const FieldDifference& d) {
  const auto text = [](const std::optional<double>& value) { return value ? fmt::format("{:.17g}", *value) : "absent"; };
  return fmt::format("  {:<16} {} -> {}{}", d.field, text(d.a), text(d.b),
                     d.a && d.b ? fmt::format("  differs by {:.3g}, relative {:.3g}", d.absolute, d.relative) : "");
}

void print_unmatched(const char* name, const Unmatched& only) {
  if (only.steps > 0) fmt::print("only {} has {}, {} to {}\n", name, counted(only.steps, "step"), only.first_step, only.last_step);
  if (only.validations > 0) fmt::print("only {} has {}\n", name, counted(only.validations, "validation"));
}

void print_differences(const RunComparison& compared) {
  if (compared.first.empty()) {
    fmt::print("first difference: step {}, which only one of them has{}\n", *compared.first_step,
               compared.largest.empty() ? "; every row that both have is equal" : "");
  } else {
    fmt::print("first difference: step {}\n", *compared.first_step);
    for (const FieldDifference& d : compared.first) fmt::print("{}\n", line(d));
  }
  if (compared.largest.empty()) return;
  fmt::print("largest differences\n");
  for (const FieldDifference& d : compared.largest) fmt::print("{}, at step {}\n", line(d), d.step);
}

}  // namespace

int compare_command(const std::string& run_a, const std::string& run_b) {
  const RunComparison compared = compare_runs(run_a, run_b);
  const std::vector<std::string> surroundings = compare_surroundings(run_a, run_b);
  fmt::print("A {}\nB {}\n", run_a, run_b);
  if (surroundings.empty()) fmt::print("settings, layout, threads, build and data are the same\n");
  for (const std::string& text : surroundings) fmt::print("  {}\n", text);
  fmt::print("both have {} and {}\n", counted(compared.steps, "step"), counted(compared.validations, "validation"));
  for (const auto& [name, damaged] : {std::pair{"A", compared.damaged_a}, std::pair{"B", compared.damaged_b}})
    if (damaged > 0)
      fmt::print("{} has {} in its metrics.jsonl that {} no row\n", name, counted(damaged, "line"), damaged == 1 ? "is" : "are");
  print_unmatched("A", compared.only_a);
  print_unmatched("B", compared.only_b);
  if (compared.equal()) {
    fmt::print("every row is equal, to the last digit\n");
    return static_cast<int>(ExitCode::done);
  }
  print_differences(compared);
  return static_cast<int>(ExitCode::different);
}

}  // namespace drover
