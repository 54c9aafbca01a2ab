// `drover import-tokens` and `drover export-tokens`.
#include <fmt/format.h>

#include "kernels/base/words.h"
#include "launch/commands.h"
#include "launch/progress.h"

namespace drover {
int import_tokens_command(const ImportOptions& options) {
  ImportResult result;
  {
    TokenProgress line;
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
