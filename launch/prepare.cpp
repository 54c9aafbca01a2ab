#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "data/inspect.h"
#include "launch/commands.h"

namespace drover {

int prepare_command(const PrepareOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  auto shown = begin;
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  const PrepareResult result = prepare(options, [&](const PrepareProgress& progress) {
    if (!terminal || Clock::now() - shown < std::chrono::milliseconds(200)) return;
    shown = Clock::now();
    fmt::print(stderr, "\r\033[K{:.1f} MB, {} documents, {:.0f} MB/s", static_cast<double>(progress.bytes) / 1e6,
               progress.documents, static_cast<double>(progress.bytes) / 1e6 / seconds());
  });
  if (terminal) fmt::print(stderr, "\r\033[K");
  if (result.already_prepared) fmt::print("{}: already prepared from these inputs\n", options.out.string());
  fmt::print("{} documents, {} tokens in {} shards", result.documents, result.tokens, result.shards);
  if (!result.already_prepared) fmt::print(", {:.0f} MB/s", static_cast<double>(result.bytes) / 1e6 / seconds());
  fmt::print("\n");
  return 0;
}

int data_command(const std::string& verb, const std::string& directory) {
  if (verb == "inspect") {
    fmt::print("{}", inspect_data(directory));
    return 0;
  }
  const std::vector<std::string> problems = verify_data(directory);
  for (const std::string& problem : problems) fmt::print(stderr, "drover: error: {}\n", problem);
  if (problems.empty()) fmt::print("{}: sound\n", directory);
  return problems.empty() ? 0 : 4;
}

}  // namespace drover
