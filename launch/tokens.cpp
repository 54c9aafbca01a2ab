// `drover import-tokens` and `drover export-tokens`.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "kernels/base/words.h"
#include "launch/commands.h"

namespace drover {
namespace {

using Clock = std::chrono::steady_clock;

// One line on a terminal that is drawn over; in a log, a plain one now and then.
class Progress {
 public:
  void show(const std::filesystem::path& file, int64_t tokens) {
    constexpr double kTerminal = 0.2, kLog = 10;
    if (std::chrono::duration<double>(Clock::now() - shown_).count() < (terminal_ ? kTerminal : kLog)) return;
    shown_ = Clock::now();
    fmt::print(stderr, "{}{}: {:.0f} million tokens{}", terminal_ ? "\r\033[K" : "", file.filename().string(),
               static_cast<double>(tokens) / 1e6, terminal_ ? "" : "\n");
  }
  ~Progress() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }

 private:
  Clock::time_point shown_ = Clock::now();
  bool terminal_ = isatty(STDERR_FILENO) == 1;
};

}  // namespace

int import_tokens_command(const ImportOptions& options) {
  ImportResult result;
  {
    Progress line;
    result = import_tokens(options, [&](const auto& file, int64_t tokens) { line.show(file, tokens); });
  }
  if (result.already_imported) fmt::print("{}: already imported from these files\n", options.out.string());
  fmt::print("{}, {} in {}\n", counted(result.documents, "document"), counted(result.tokens, "token"),
             counted(result.shards, "shard"));
  return 0;
}

int export_tokens_command(const ExportOptions& options) {
  const ExportResult result = export_tokens(options);
  fmt::print("{}, {} in {}\n", counted(result.documents, "document"), counted(result.tokens, "token"),
             counted(std::ssize(result.files), "file"));
  for (const auto& file : result.files) fmt::print("{}\n", file.string());
  return 0;
}

}  // namespace drover
