#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "data/inspect.h"
#include "kernels/base/words.h"
#include "launch/commands.h"

namespace drover {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// One line on a terminal that is drawn over, and a plain line now and then in a log.
class Progress {
 public:
  void show(const PrepareProgress& progress) {
    constexpr double kTerminal = 0.2, kLog = 10;
    if (seconds_since(shown_) < (terminal_ ? kTerminal : kLog)) return;
    shown_ = Clock::now();
    const double megabytes = static_cast<double>(progress.bytes) / 1e6;
    std::string text = fmt::format("{:.1f} MB", megabytes);
    if (progress.total > 0)
      text += fmt::format(" ({:.0f} %)", 100 * static_cast<double>(progress.bytes) / static_cast<double>(progress.total));
    text += progress.counting
                ? " measured, to find where the validation tail begins"
                : fmt::format(", {}, {:.0f} MB/s", counted(progress.documents, "document"), megabytes / seconds_since(begin_));
    fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "", text, terminal_ ? "" : "\n");
  }
  ~Progress() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }
  double seconds() const { return seconds_since(begin_); }

 private:
  Clock::time_point begin_ = Clock::now(), shown_ = begin_;
  bool terminal_ = isatty(STDERR_FILENO) == 1;
};

}  // namespace

int prepare_command(const PrepareOptions& options) {
  PrepareResult result;
  double seconds = 0;
  {
    Progress line;
    result = prepare(options, [&](const PrepareProgress& progress) { line.show(progress); });
    seconds = line.seconds();
  }
  if (result.already_prepared) fmt::print("{}: already prepared from these inputs\n", options.out.string());
  fmt::print("{}, {} in {}", counted(result.documents, "document"), counted(result.tokens, "token"),
             counted(result.shards, "shard"));
  if (!result.already_prepared) fmt::print(", {:.0f} MB/s", static_cast<double>(result.bytes) / 1e6 / seconds);
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
