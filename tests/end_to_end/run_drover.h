// Drover from outside, as a person runs it: YAML files, `drover prepare`, `launch/mpirun.sh -np N drover train`, and what they leave.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/end_to_end/process.h"

namespace drover::testing {

// Removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Layout {
  int dp = 1, tp = 1, pp = 1;
  int ranks() const { return dp * tp * pp; }
  std::string name() const;  // "dp2_tp2_pp1"
};

// YAML by dotted key: settings["model.layers"] = "4".
using Settings = std::map<std::string, std::string>;
std::string to_yaml(const Settings& settings);
Settings with(Settings settings, const Settings& changes);
void set_layout(Settings& settings, const Layout& layout);

// A model of some ten thousand parameters in f32: 4 layers, hidden 32, 8 heads, 4 kv heads, vocabulary 258, sequences of 48, 20 steps,
// clipping active. Data from prepare_corpus; one thread a rank.
Settings tiny_model(const std::filesystem::path& data);

// 900 documents of at most 40 bytes (some empty), so that most samples hold several; returns the directory of the shards.
std::filesystem::path prepare_corpus(const std::filesystem::path& directory);

std::string drover_program();
// The command line that trains `settings` in run directory `run` (its YAML is written beside it), on N ranks through launch/mpirun.sh.
std::vector<std::string> train_command(const Settings& settings, const std::filesystem::path& run, int ranks);
std::vector<std::string> resume_command(const std::filesystem::path& run, int ranks, const std::vector<std::string>& set = {});
std::vector<std::string> on_ranks(int ranks, std::vector<std::string> command);

// Runs it and fails the test, with the output, unless it exits with 0.
std::string must_succeed(const std::vector<std::string>& command);
void train(Settings settings, const std::filesystem::path& run, const Layout& layout);

std::filesystem::path checkpoint(const std::filesystem::path& run, int64_t step);

}  // namespace drover::testing
