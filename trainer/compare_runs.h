// Two runs, row by row of their metrics.jsonl: where they part, and how far.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace drover {

struct FieldDifference {
  std::string field;  // "loss"
  int64_t step = 0;
  std::optional<double> a, b;         // none: not there; NaN: null, as a loss that is no number is written
  double absolute = 0, relative = 0;  // |b - a|, |b - a| / |a|; infinite where one of them is no number
};

// Rows that only one of the runs has.
struct Unmatched {
  int64_t steps = 0, first_step = 0, last_step = 0, validations = 0;
};

struct RunComparison {
  int64_t steps = 0, validations = 0;    // rows that both have
  std::optional<int64_t> first_step;     // of the first row that differs, or that one lacks
  std::vector<FieldDifference> first;    // the fields that differ there; empty: one of the runs lacks the row
  std::vector<FieldDifference> largest;  // for each field that ever differs, the row with the largest relative difference
  Unmatched only_a, only_b;
  int64_t damaged_a = 0, damaged_b = 0;  // lines that hold no row
  bool equal() const { return !first_step; }
};

// Every field but the timings, to the bit. Throws Error(resume) when a directory holds no run. One row of each is in memory at a time.
RunComparison compare_runs(const std::filesystem::path& a, const std::filesystem::path& b);

// What differs around the runs, one line each: settings (but run.dir and checkpoint.resume), layout, ranks, threads, build, instruction
// set, data. Several values of one run are those of its starts, in order; of a setting, with the step from which a new one holds.
std::vector<std::string> compare_surroundings(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace drover
