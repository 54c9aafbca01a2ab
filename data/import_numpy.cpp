// Arrays of numpy's, with its header or without (import_formats.h).
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <regex>

#include "data/data_file.h"
#include "data/import_formats.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr char kMagic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

[[noreturn]] void refuse(const DataFile& file, int64_t offset, const std::string& what) {
  throw Error(ExitCode::data, fmt::format("{}: at byte {}: {}", file.path().string(), offset, what));
}

bool has_header(const DataFile& file) {
  char magic[sizeof kMagic];
  if (file.size() < static_cast<int64_t>(sizeof magic)) return false;
  file.read_at(0, magic, sizeof magic);
  return std::memcmp(magic, kMagic, sizeof kMagic) == 0;
}

// One value of the header's dictionary, which is a literal of Python's.
std::string value(const DataFile& file, const std::string& header, const std::string& key, const char* pattern) {
  std::smatch match;
  if (!std::regex_search(header, match, std::regex("'" + key + "': *" + pattern)))
    refuse(file, 10, fmt::format("no \"{}\" that can be read in the header: {}", key, header.substr(0, 200)));
  return match[1];
}

TokenType type_of(const DataFile& file, const std::string& text) {
  if (text.size() == 3 && (text[0] == '<' || text[0] == '|'))
    if (const auto type = token_type((text[1] == 'u' ? "uint" : text[1] == 'i' ? "int" : "") + std::to_string(8 * (text[2] - '0'))))
      return *type;
  refuse(file, 10, fmt::format("type '{}'; tokens are whole numbers, little-endian: <u2, <u4, <i4 and so on", text));
}

// Reads numpy's header; the array begins behind it.
void read_header(const DataFile& file, ForeignFile& found) {
  constexpr uint32_t kLongest = 65535;
  unsigned char begin[12];
  if (file.size() < static_cast<int64_t>(sizeof begin))
    refuse(file, file.size(), "cut short: the header of numpy's arrays is longer");
  file.read_at(0, begin, sizeof begin);
  const int version = begin[6];
  if (version < 1 || version > 3) refuse(file, 6, fmt::format("version {} of numpy's format; 1 to 3 are known", version));
  const int64_t prefix = version == 1 ? 10 : 12;
  const uint32_t length = begin[8] + 256u * begin[9] + (version == 1 ? 0 : 65536u * begin[10] + 16777216u * begin[11]);
  if (length > kLongest || prefix + length > file.size()) refuse(file, 8, fmt::format("a header of {} bytes: cut short", length));
  std::string header(length, '\0');
  file.read_at(prefix, header.data(), header.size());
  found.type = type_of(file, value(file, header, "descr", "'([^']*)'"));
  if (value(file, header, "fortran_order", "(True|False)") == "True") refuse(file, prefix, "an array in Fortran's order");
  const std::string shape = value(file, header, "shape", "\\(([0-9, ]*)\\)");
  const auto [end, error] = std::from_chars(shape.data(), shape.data() + shape.size(), found.tokens);
  if (error != std::errc() || std::string_view(end, shape.data() + shape.size()) != ",")
    refuse(file, prefix, fmt::format("an array of shape ({}); tokens are of one dimension", shape));
  found.offset = prefix + length;
  if (found.tokens > file.size() || file.size() != found.offset + found.tokens * bytes_of(found.type))
    refuse(file, found.offset,
           fmt::format("{} tokens of {} bytes are to follow, {} bytes do", found.tokens, bytes_of(found.type),
                       file.size() - found.offset));
}

}  // namespace

ForeignFile find_numpy(const std::filesystem::path& path, std::optional<TokenType> type) {
  const DataFile file(path);
  ForeignFile found{.path = path};
  if (has_header(file)) {
    read_header(file, found);
    if (type && *type != found.type) refuse(file, 10, "its header says another type than --dtype");
    return found;
  }
  if (!type)
    throw Error(ExitCode::config,
                fmt::format("{} has no header of numpy's: say what it holds with --dtype: {}", path.string(), token_type_names()));
  found.type = *type;
  found.tokens = file.size() / bytes_of(*type);
  if (file.size() % bytes_of(*type) != 0)
    refuse(file, found.tokens * bytes_of(*type),
           fmt::format("{} bytes behind the last token of {} bytes; is --dtype right?", file.size() % bytes_of(*type),
                       bytes_of(*type)));
  return found;
}

}  // namespace drover
