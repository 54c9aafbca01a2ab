// llm.c's token files (import_formats.h has the layout).
#include <fmt/format.h>

#include "data/data_file.h"
#include "data/import_formats.h"
#include "kernels/base/error.h"

namespace drover {

ForeignFile find_llmc(const std::filesystem::path& path) {
  constexpr int64_t kHeader = 1024;
  constexpr int32_t kNarrow = 20240520, kWide = 20240801, kEvaluation = 20240522;
  const DataFile file(path);
  const auto refuse = [&](int64_t offset, const std::string& what) {
    throw Error(ExitCode::data, fmt::format("{}: at byte {}: {}", path.string(), offset, what));
  };
  if (file.size() < kHeader) refuse(file.size(), fmt::format("cut short: the header of llm.c's token files has {} bytes", kHeader));
  int32_t header[3];
  file.read_at(0, header, sizeof header);
  const auto [magic, version, tokens] = header;
  if (magic == kEvaluation) refuse(0, "llm.c's evaluation data, which is no text to train on");
  if (magic != kNarrow && magic != kWide)
    refuse(0, fmt::format("not llm.c's: {} stands there, not {} (2 bytes a token) or {} (4 bytes)", magic, kNarrow, kWide));
  const int32_t wanted = magic == kNarrow ? 1 : 7;
  if (version != wanted) refuse(4, fmt::format("version {}; files that begin with {} have version {}", version, magic, wanted));
  ForeignFile found{.path = path, .type = magic == kNarrow ? TokenType::u16 : TokenType::u32, .offset = kHeader, .tokens = tokens};
  const int64_t bytes = kHeader + tokens * bytes_of(found.type);
  if (tokens < 0 || file.size() != bytes)
    refuse(8, fmt::format("{} tokens of {} bytes take {} bytes with their header, the file has {}", tokens, bytes_of(found.type),
                          bytes, file.size()));
  return found;
}

}  // namespace drover
