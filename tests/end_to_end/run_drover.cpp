#include "tests/end_to_end/run_drover.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <fstream>
#include <random>
#include <stdexcept>

namespace drover::testing {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = std::filesystem::temp_directory_path() / "drover_test_XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  path_ = name;
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Layout::name() const { return "dp" + std::to_string(dp) + "_tp" + std::to_string(tp) + "_pp" + std::to_string(pp); }

std::string to_yaml(const Settings& settings) {
  std::string text;
  std::vector<std::string> open;  // sections around the last key
  for (const auto& [key, value] : settings) {
    std::vector<std::string> path;
    size_t begin = 0;
    for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.', begin)) {
      path.push_back(key.substr(begin, dot - begin));
      begin = dot + 1;
    }
    size_t same = 0;
    while (same < path.size() && same < open.size() && path[same] == open[same]) ++same;
    for (size_t level = same; level < path.size(); ++level) text += std::string(2 * level, ' ') + path[level] + ":\n";
    text += std::string(2 * path.size(), ' ') + key.substr(begin) + ": " + value + "\n";
    open = path;
  }
  return text;
}

Settings with(Settings settings, const Settings& changes) {
  for (const auto& [key, value] : changes) settings[key] = value;
  return settings;
}

void set_layout(Settings& settings, const Layout& layout) {
  settings["parallel.dp"] = std::to_string(layout.dp);
  settings["parallel.tp"] = std::to_string(layout.tp);
  settings["parallel.pp"] = std::to_string(layout.pp);
}

Settings tiny_model(const std::filesystem::path& data) {
  return {{"model.layers", "4"},          {"model.hidden", "32"},       {"model.heads", "8"},        {"model.kv_heads", "4"},
          {"model.ffn", "64"},            {"model.vocab", "258"},       {"model.rope_theta", "10000"}, {"train.steps", "20"},
          {"train.global_batch", "12"},   {"train.micro_batch", "1"},   {"train.sequence", "48"},    {"train.seed", "3"},
          {"optimizer.lr", "0.003"},      {"optimizer.warmup_steps", "5"}, {"optimizer.clip", "0.5"}, {"precision.compute", "f32"},
          {"data.train", data.string()},  {"run.threads", "1"}};
}

std::filesystem::path prepare_corpus(const std::filesystem::path& directory) {
  std::mt19937 random(7);
  std::ofstream file(directory / "corpus.jsonl");
  for (int document = 0; document < 900; ++document) {
    std::string text;
    // A few letters that follow each other more often than not: something to learn in 20 steps.
    for (uint32_t length = random() % 41, letter = 0; length > 0; --length) {
      letter = random() % 3 == 0 ? random() % 20 : (letter + 1) % 20;
      text += static_cast<char>('a' + letter);
    }
    file << "{\"text\": \"" << text << "\"}\n";
  }
  file.close();
  const std::filesystem::path data = directory / "data";
  must_succeed({drover_program(), "prepare", "--tokenizer", "bytes", "--out", data, "--shard-tokens", "7000", directory / "corpus.jsonl"});
  return data;
}

std::string drover_program() { return DROVER_BUILD_DIR "/drover"; }

std::vector<std::string> on_ranks(int ranks, std::vector<std::string> command) {
  if (ranks > 1) command.insert(command.begin(), {DROVER_SOURCE_DIR "/launch/mpirun.sh", "-np", std::to_string(ranks)});
  return command;
}

std::vector<std::string> train_command(const Settings& settings, const std::filesystem::path& run, int ranks) {
  const std::filesystem::path config = run.string() + ".yaml";
  std::ofstream(config) << to_yaml(with(settings, {{"run.dir", run.string()}}));
  return on_ranks(ranks, {drover_program(), "train", config});
}

std::vector<std::string> resume_command(const std::filesystem::path& run, int ranks, const std::vector<std::string>& set) {
  std::vector<std::string> command{drover_program(), "resume", run};
  for (const std::string& text : set) command.insert(command.end(), {"--set", text});
  return on_ranks(ranks, std::move(command));
}

std::string must_succeed(const std::vector<std::string>& command) {
  const Outcome outcome = drover::testing::run(command);
  if (outcome.exit_code != 0) {
    std::string text;
    for (const std::string& word : command) text += word + " ";
    throw std::runtime_error(text + "ended with " + std::to_string(outcome.exit_code) + "\n" + outcome.output);
  }
  return outcome.output;
}

void train(Settings settings, const std::filesystem::path& run, const Layout& layout) {
  set_layout(settings, layout);
  must_succeed(train_command(settings, run, layout.ranks()));
}

std::filesystem::path checkpoint(const std::filesystem::path& run, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%08ld", static_cast<long>(step));
  return run / "checkpoints" / name;
}

}  // namespace drover::testing
