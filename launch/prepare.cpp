#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "data/inspect.h"
#include "kernels/base/seconds.h"
#include "kernels/base/words.h"
#include "launch/commands.h"

namespace drover {

namespace {

using Clock = std::chrono::steady_clock;

// "50 s", "12 min", "3.4 h"
std::string in_words(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", seconds);
  return seconds < 6000 ? fmt::format("{:.0f} min", seconds / 60) : fmt::format("{:.1f} h", seconds / 3600);
}

// One line on a terminal that is drawn over, and a plain line now and then in a log.
class Progress {
 public:
  void show(const PrepareProgress& progress) {
    constexpr double kTerminal = 0.2, kLog = 10;
    if (progress.surveying != surveying_) {  // each pass has a rate of its own
      surveying_ = progress.surveying;
      pass_ = Clock::now();
    }
    if (seconds_since(shown_) < (terminal_ ? kTerminal : kLog)) return;
    shown_ = Clock::now();
    const double seconds = seconds_since(pass_), megabytes = static_cast<double>(progress.bytes) / 1e6;
    std::string text = fmt::format("{:.1f} MB", megabytes);
    const double share = progress.size > 0 ? static_cast<double>(progress.position) / static_cast<double>(progress.size) : 0;
    if (share > 0) text += fmt::format(" ({:.0f} %)", 100 * share);
    text += surveying_ ? " looked at before they are tokenized"
                       : fmt::format(", {}, {}", counted(progress.documents, "document"), counted(progress.tokens, "token"));
    text += fmt::format(", {:.0f} MB/s", megabytes / seconds);
    if (share > 0) text += fmt::format(", {} left", in_words(seconds * (1 - share) / share));
    fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "", text, terminal_ ? "" : "\n");
  }
  ~Progress() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }
  double seconds() const { return seconds_since(begin_); }

 private:
  Clock::time_point begin_ = Clock::now(), pass_ = begin_, shown_ = begin_;
  bool surveying_ = false, terminal_ = isatty(STDERR_FILENO) == 1;
};

void print_bad(const BadRecords& bad) {
  if (bad.count == 0) return;
  fmt::print(stderr, "drover: warning: {} left out:\n", counted(bad.count, "bad record"));
  for (const std::string& what : bad.first) fmt::print(stderr, "  {}\n", what);
  if (bad.count > static_cast<int64_t>(bad.first.size()))
    fmt::print(stderr, "  and {} more\n", bad.count - static_cast<int64_t>(bad.first.size()));
}

}  // namespace

int prepare_command(PrepareRequest request, const LauncherView& view) {
  request.replace_ill_formed = request.invalid_utf8 == "replace";
  request.processes = view.size;
  if (request.workers == 0) request.workers = cores_of_rank(view);
  const bool speaks = view.rank == 0;
  PrepareResult result;
  double seconds = 0;
  {
    Progress line;
    result = prepare(request, [&](const PrepareProgress& progress) {
      if (speaks) line.show(progress);
    });
    seconds = line.seconds();
  }
  if (!speaks) return 0;
  print_bad(result.bad);
  if (result.already_prepared) fmt::print("{}: already prepared from these inputs\n", request.out.string());
  fmt::print("{}, {} in {}", counted(result.documents, "document"), counted(result.tokens, "token"),
             counted(result.shards, "shard"));
  if (request.deduplicate) fmt::print(", {} dropped", counted(result.duplicates, "duplicate"));
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
