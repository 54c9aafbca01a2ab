// drover bench tokenizer: how fast text becomes ids. Beside the Python library whose file it is: launch/bench_against_tokenizers.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "data/utf8.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "kernels/base/threads.h"
#include "launch/commands.h"

namespace drover {
namespace {

constexpr size_t kPart = size_t{1} << 20;  // as prepare cuts text

// Appends parts of about kPart bytes.
void cut(std::string_view text, std::vector<std::string_view>& parts) {
  while (!text.empty()) {
    size_t size = std::min(kPart, text.size());
    while (size < text.size() && !may_cut(text, size)) ++size;
    parts.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
}

struct Round {
  double seconds = 0;
  int64_t ids = 0;
};

Round encode_parts(const Tokenizer& tokenizer, const std::vector<std::string_view>& parts, int threads) {
  std::vector<int64_t> counts(static_cast<size_t>(threads));
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  workers.reserve(counts.size());
  for (size_t t = 0; t < counts.size(); ++t)
    workers.emplace_back([&, t] {
      std::vector<int32_t> ids;
      for (size_t i = t; i < parts.size(); i += counts.size()) {
        ids.clear();
        tokenizer.encode(parts[i], ids);
        counts[t] += static_cast<int64_t>(ids.size());
      }
    });
  for (auto& worker : workers) worker.join();
  Round timed{.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
  for (const int64_t count : counts) timed.ids += count;
  return timed;
}

[[noreturn]] void run_against(const BenchTokenizerOptions& options) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  const auto script = self.parent_path() / "../../launch/bench_against_tokenizers";
  if (!std::filesystem::exists(script))
    throw Error(ExitCode::config,
                script.lexically_normal().string() + " is not there: --against works from a build in the source tree, build/NAME");
  std::vector<std::string> words{script.string(),  "--drover", self.string(), "--rounds", std::to_string(options.rounds),
                                 options.tokenizer};
  words.insert(words.end(), options.inputs.begin(), options.inputs.end());
  std::vector<char*> arguments(words.size() + 1, nullptr);
  std::transform(words.begin(), words.end(), arguments.begin(), [](std::string& word) { return word.data(); });
  execv(arguments[0], arguments.data());
  throw Error(ExitCode::config, script.string() + " cannot be started");
}

}  // namespace

int bench_tokenizer_command(const BenchTokenizerOptions& options) {
  if (options.against) run_against(options);
  const auto tokenizer = make_tokenizer(options.tokenizer);
  std::vector<std::string> texts;
  texts.reserve(options.inputs.size());
  for (const std::string& input : options.inputs) texts.push_back(read_text(input));
  std::vector<std::string_view> parts;
  for (const std::string& text : texts) cut(text, parts);
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  const auto megabytes = static_cast<double>(bytes) / 1e6;
  const int all = std::max(1, std::min(options.threads > 0 ? options.threads : available_cores(), static_cast<int>(parts.size())));
  nlohmann::json json = nlohmann::json::array();
  for (const int threads : all == 1 ? std::vector{1} : std::vector{1, all}) {
    std::vector<Round> rounds;
    rounds.reserve(static_cast<size_t>(options.rounds));
    for (int round = 0; round < options.rounds; ++round) rounds.push_back(encode_parts(*tokenizer, parts, threads));
    std::sort(rounds.begin(), rounds.end(), [](const Round& a, const Round& b) { return a.seconds < b.seconds; });
    const Round median = rounds[rounds.size() / 2];
    const double rate = megabytes / median.seconds;
    if (!options.json)
      fmt::print("{} {} on {}: {:.1f} MB, {} ids, {:.3f} bytes a token: {:.1f} MB/s (median of {}, best {:.1f})\n",
                 tokenizer->name(), threads == 1 ? "one thread" : fmt::format("{} threads", threads), options.inputs.front(),
                 megabytes, median.ids, static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(median.ids, 1)), rate,
                 options.rounds, megabytes / rounds.front().seconds);
    json.push_back({{"threads", threads}, {"bytes", bytes}, {"ids", median.ids}, {"seconds", median.seconds}});
  }
  if (options.json) fmt::print("{}\n", json.dump());
  return 0;
}

}  // namespace drover
