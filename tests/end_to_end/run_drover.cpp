#include "tests/end_to_end/run_drover.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <stdexcept>

#include "trainer/event.pb.h"
#include "trainer/event_file.h"
#include "trainer/record_file.h"

namespace drover::testing {
namespace {

// Letters that mostly follow each other, so that there is something to learn in 20 steps; the same on every machine.
void write_corpus(const std::filesystem::path& path) {
  std::mt19937 random(7);
  std::ofstream file(path);
  for (int document = 0; document < 900; ++document) {
    std::string text;
    uint32_t letter = 0;
    for (uint32_t length = random() % 41; length > 0; --length) {
      letter = random() % 3 == 0 ? random() % 20 : (letter + 1) % 20;
      text += static_cast<char>('a' + letter);
    }
    file << "{\"text\": \"" << text << "\"}\n";
  }
}

// Sections two spaces deep; the map's order keeps the keys of a section together.
std::string yaml(const std::map<std::string, std::string>& keys) {
  std::string text;
  std::vector<std::string> open;
  for (const auto& [key, value] : keys) {
    std::vector<std::string> path;
    std::istringstream parts(key);
    for (std::string part; std::getline(parts, part, '.');) path.push_back(part);
    size_t level = 0;
    while (level + 1 < path.size() && level + 1 < open.size() && path[level] == open[level]) ++level;
    for (; level < path.size(); ++level)
      text += std::string(2 * level, ' ') + path[level] + (level + 1 == path.size() ? ": " + value : ":") + "\n";
    open = path;
  }
  return text;
}

}  // namespace

std::string Layout::name() const { return "dp" + std::to_string(dp) + "_tp" + std::to_string(tp) + "_pp" + std::to_string(pp); }

std::string drover_program() { return DROVER_BUILD_DIR "/drover"; }
std::string mpirun_script() { return DROVER_SOURCE_DIR "/launch/mpirun.sh"; }

Sandbox::Sandbox(std::string program) : program_(std::move(program)) {
  // In memory where there is such a place: thousands of fsyncs of a disk would be most of the time.
  const std::filesystem::path memory = "/dev/shm";
  std::string name = (access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path()) / "drover_test_XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  path_ = name;
  write_corpus(path_ / "corpus.jsonl");
  const Outcome made = drover({"prepare", "--tokenizer", "bytes", "--out", "data", "--shard-tokens", "7000", "corpus.jsonl"});
  if (made.code != 0) throw std::runtime_error("drover prepare: " + made.output);
}
Sandbox::~Sandbox() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void Sandbox::configure(const std::map<std::string, std::string>& keys) {
  std::map<std::string, std::string> all = keys;
  all.insert({{"model.layers", "4"},
              {"model.hidden", "32"},
              {"model.heads", "8"},
              {"model.kv_heads", "8"},
              {"model.ffn", "64"},
              {"model.vocab", "258"},
              {"model.rope_theta", "10000"},
              {"train.steps", "20"},
              {"train.global_batch", "24"},
              {"train.micro_batch", "1"},
              {"train.sequence", "32"},
              {"train.seed", "3"},
              {"optimizer.lr", "0.003"},
              {"optimizer.warmup_steps", "5"},
              {"optimizer.clip", "0.5"},
              {"precision.compute", "f32"},
              {"data.train", "data"},
              {"run.device", "cpu"},
              {"run.threads", "1"}});
  std::ofstream(path_ / "config.yaml") << yaml(all);
}

std::vector<std::string> Sandbox::train_arguments(const Layout& layout, const std::string& run,
                                                  const std::vector<std::string>& set) const {
  std::vector<std::string> arguments{"train", "config.yaml"};
  const auto add = [&](const std::string& text) { arguments.insert(arguments.end(), {"--set", text}); };
  add("run.dir=" + run);
  add("parallel.tp=" + std::to_string(layout.tp));
  add("parallel.pp=" + std::to_string(layout.pp));
  for (const std::string& text : set) add(text);
  return arguments;
}

std::vector<std::string> Sandbox::on_ranks(int ranks, const std::vector<std::string>& arguments) const {
  std::vector<std::string> command;
  if (ranks > 1) command = {mpirun_script(), "-np", std::to_string(ranks)};
  command.push_back(program_);
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Outcome Sandbox::train(const Layout& layout, const std::string& run, const std::vector<std::string>& set) const {
  return run_command(on_ranks(layout.ranks(), train_arguments(layout, run, set)), path_);
}

Outcome Sandbox::resume(const Layout& layout, const std::string& run, const std::vector<std::string>& set) const {
  std::vector<std::string> arguments{
      "resume", run, "--set", "parallel.tp=" + std::to_string(layout.tp), "--set", "parallel.pp=" + std::to_string(layout.pp)};
  for (const std::string& text : set) arguments.insert(arguments.end(), {"--set", text});
  return run_command(on_ranks(layout.ranks(), arguments), path_);
}

Outcome Sandbox::drover(const std::vector<std::string>& arguments) const { return run_command(on_ranks(1, arguments), path_); }

std::string Sandbox::expect(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& words) const {
  const Outcome outcome = drover(arguments);
  EXPECT_EQ(outcome.code, code) << outcome.output;
  for (const std::string& word : words) EXPECT_NE(outcome.output.find(word), std::string::npos) << word << " in " << outcome.output;
  return outcome.output;
}

std::vector<nlohmann::json> Sandbox::metrics(const std::string& run) const {
  std::ifstream file(path_ / run / "metrics.jsonl");
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(file, line);) {
    if (file.eof()) break;  // a row that is being written
    rows.push_back(nlohmann::json::parse(line));
  }
  return rows;
}

std::vector<nlohmann::json> Sandbox::events(const std::string& run) const {
  std::vector<nlohmann::json> rows;
  for (const std::filesystem::path& path : event_files(path_ / run)) {
    RecordReader reader(path);
    std::string data;
    for (pb::Event event; reader.next(data) && event.ParseFromString(data);) {
      if (!event.has_summary()) continue;
      nlohmann::json& row = rows.emplace_back(nlohmann::json{{"step", event.step()}});
      for (const pb::Summary::Value& value : event.summary().value()) row[value.tag()] = value.simple_value();
    }
  }
  return rows;
}

std::filesystem::path Sandbox::checkpoint(const std::string& run, int64_t step) const {
  char name[32];
  std::snprintf(name, sizeof name, "step_%08lld", static_cast<long long>(step));
  return path_ / run / "checkpoints" / name;
}

double largest_difference(const std::vector<nlohmann::json>& a, const std::vector<nlohmann::json>& b, const std::string& field) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double largest = -1;
  if (a.size() != b.size()) return kInfinity;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].at("step") != b[i].at("step") || a[i].contains(field) != b[i].contains(field)) return kInfinity;
    if (!a[i].contains(field)) continue;
    if (!a[i][field].is_number() || !b[i][field].is_number()) return kInfinity;
    const double x = a[i][field].get<double>(), y = b[i][field].get<double>();
    largest = std::max(largest, std::abs(y - x) / std::abs(x));
  }
  return largest < 0 ? kInfinity : largest;
}

void expect_one_error(const Outcome& outcome, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.code, code) << outcome.output;
  EXPECT_EQ(distinct_lines(outcome.output, "drover: error:"), 1u) << outcome.output;
  const std::string tail = outcome.output.substr(std::min(outcome.output.size(), outcome.output.rfind("drover: error:")));
  for (const std::string& word : words)
    EXPECT_NE(tail.find(word), std::string::npos) << "no \"" << word << "\" in: " << outcome.output;
}

std::vector<nlohmann::json> without_timings(std::vector<nlohmann::json> rows) {
  for (nlohmann::json& row : rows) {
    row.erase("seconds");
    row.erase("tokens_per_second");
    row.erase("data_share");
  }
  return rows;
}

}  // namespace drover::testing
