// Drover from outside, as a person runs it: a YAML file, `drover prepare`, `launch/mpirun.sh -np N drover train`, and what that leaves.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "tests/end_to_end/process.h"

namespace drover::testing {

struct Layout {
  int dp = 1, tp = 1, pp = 1;
  int ranks() const { return dp * tp * pp; }
  std::string name() const;  // "dp2_tp2_pp1"
};
inline void PrintTo(const Layout& layout, std::ostream* stream) { *stream << layout.name(); }

std::string drover_program();
std::string mpirun_script();

// A temporary directory with prepared data and a configuration; removed in the end. Every command runs in it, so that paths are short:
// "data" (several documents a sample: most have less than 40 bytes, the sequence is 32), "config.yaml", and run directories by name.
class Sandbox {
 public:
  explicit Sandbox(std::string program = drover_program());
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Writes config.yaml: a model of some sixty thousand parameters, 8 heads and 8 kv heads, 20 steps of 24 sequences, f32, clipping
  // active, one thread a rank; `keys` ("model.layers") replace and add. data.train is "data".
  void configure(const std::map<std::string, std::string>& keys);

  // drover's arguments for training config.yaml in run directory `run`; `set`: key=value, each as --set.
  std::vector<std::string> train_arguments(const Layout& layout, const std::string& run, const std::vector<std::string>& set) const;

  // What starts drover with these arguments on N ranks: launch/mpirun.sh, or nothing for one.
  std::vector<std::string> on_ranks(int ranks, const std::vector<std::string>& arguments) const;

  Outcome train(const Layout& layout, const std::string& run, const std::vector<std::string>& set = {}) const;
  Outcome resume(const Layout& layout, const std::string& run, const std::vector<std::string>& set = {}) const;
  Outcome drover(const std::vector<std::string>& arguments) const;  // one process
  // The same, expected to end with this code and to say these words; its output.
  std::string expect(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& words) const;

  std::vector<nlohmann::json> metrics(const std::string& run) const;
  // Of TensorBoard's event files, in order, as rows of metrics.jsonl: a row a record, numbers as they are stored (f32).
  std::vector<nlohmann::json> events(const std::string& run) const;
  std::filesystem::path checkpoint(const std::string& run, int64_t step) const;

 private:
  std::string program_;
  std::filesystem::path path_;
};

// Largest |b - a| / |a| of a field over rows that hold it; infinite when the rows do not match by step, or hold no such field.
double largest_difference(const std::vector<nlohmann::json>& a, const std::vector<nlohmann::json>& b, const std::string& field);

// Expects that the run ended with this exit code and one message of its own, whole and last, however many ranks said it, which has the words.
void expect_one_error(const Outcome& outcome, int code, const std::vector<std::string>& words);

std::vector<nlohmann::json> without_timings(std::vector<nlohmann::json> rows);

}  // namespace drover::testing
