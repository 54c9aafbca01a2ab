// datatrove's token files, which nanotron trains on (import_formats.h has the layout).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "data/data_file.h"
#include "data/import_formats.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, path.string() + ": " + what);
}

std::vector<uint64_t> read_ends(const std::filesystem::path& path) {
  const DataFile file(path);
  if (file.size() % 8 != 0) refuse(path, fmt::format("{} bytes: no multiple of 8, which each document end has", file.size()));
  std::vector<uint64_t> ends(static_cast<size_t>(file.size() / 8));
  if (!ends.empty()) file.read_at(0, ends.data(), 8 * ends.size());
  for (size_t i = 1; i < ends.size(); ++i)
    if (ends[i] < ends[i - 1])
      refuse(path, fmt::format("at byte {}: document end {} after {}: they ascend", 8 * i, ends[i], ends[i - 1]));
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());  // documents of no tokens
  if (!ends.empty() && ends.front() == 0) ends.erase(ends.begin());
  return ends;
}

struct Metadata {
  int64_t width = 0, tokens = 0;
};

Metadata read_metadata(const std::filesystem::path& path) {
  constexpr int64_t kLongest = 4096;
  const DataFile file(path);
  std::string text(static_cast<size_t>(std::min(file.size(), kLongest)), '\0');
  file.read_at(0, text.data(), text.size());
  const size_t line = text.find('\n'), bar = line == std::string::npos ? line : text.rfind('|', line);
  Metadata found;
  const char* end = text.data() + text.size();
  if (bar == std::string::npos || std::from_chars(text.data() + bar + 1, end, found.width).ec != std::errc() ||
      std::from_chars(text.data() + line + 1, end, found.tokens).ec != std::errc() || (found.width != 2 && found.width != 4))
    refuse(path, "not datatrove's metadata: a line TOKENIZER|BYTES with 2 or 4 bytes a token, and one with the number of tokens");
  return found;
}

}  // namespace

ForeignFile find_nanotron(const std::filesystem::path& path, std::optional<TokenType> type) {
  const DataFile file(path);
  ForeignFile found{.path = path};
  if (const std::filesystem::path index = path.string() + ".index"; std::filesystem::exists(index)) {
    found.ends = read_ends(index);
    found.beside.push_back(index);
  }
  int64_t width = type ? bytes_of(*type) : 0;
  const uint64_t last = found.ends && !found.ends->empty() ? found.ends->back() : 0;
  if (const std::filesystem::path metadata = path.string() + ".metadata"; std::filesystem::exists(metadata)) {
    const Metadata said = read_metadata(metadata);
    found.beside.push_back(metadata);
    if (width != 0 && width != said.width) refuse(metadata, fmt::format("{} bytes a token, --dtype has {}", said.width, width));
    width = said.width;
    if (said.tokens != file.size() / width)
      refuse(metadata, fmt::format("{} tokens of {} bytes, {} has {} bytes", said.tokens, width, path.string(), file.size()));
  }
  if (width == 0 && last > 0)
    for (const int64_t one : {2, 4})
      if (last <= INT64_MAX / 4 && file.size() == one * static_cast<int64_t>(last)) width = one;
  if (width != 2 && width != 4)
    refuse(path, last > 0
                     ? fmt::format("{} bytes, the last document ends at token {}: neither 2 nor 4 bytes each", file.size(), last)
                     : "nothing says how many bytes a token has (no .index, no .metadata); --dtype uint16 or uint32 does");
  if (file.size() % width != 0) refuse(path, fmt::format("{} bytes: no multiple of {}, the bytes of a token", file.size(), width));
  found.type = width == 2 ? TokenType::u16 : TokenType::u32;
  found.tokens = file.size() / width;
  if (found.ends && last != static_cast<uint64_t>(found.tokens))
    refuse(found.beside.front(), fmt::format("the last document ends at token {}, {} has {}", last, path.string(), found.tokens));
  return found;
}

}  // namespace drover
