// Megatron-LM's indexed dataset (import_formats.h has the layout).
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "data/data_file.h"
#include "data/import_formats.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr char kMagic[9] = {'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'};
constexpr int64_t kHeader = 34;
constexpr int64_t kBlock = 1 << 17;  // sequences read at a time

[[noreturn]] void refuse(const DataFile& index, int64_t offset, const std::string& what) {
  throw Error(ExitCode::data, fmt::format("{}: at byte {}: {}", index.path().string(), offset, what));
}

TokenType type_of(const DataFile& index, uint8_t code) {
  constexpr TokenType kTypes[] = {TokenType::u8, TokenType::i8, TokenType::i16, TokenType::i32, TokenType::i64};
  if (code >= 1 && code <= 5) return kTypes[code - 1];
  if (code == 8) return TokenType::u16;
  if (code == 6 || code == 7) refuse(index, 17, fmt::format("type {} is of floating-point numbers, which are no tokens", code));
  refuse(index, 17, fmt::format("type {} of the tokens; 1 to 5 and 8 are whole numbers", code));
}

struct Header {
  TokenType type;
  int64_t sequences, marks;
};

Header read_header(const DataFile& index) {
  char bytes[kHeader];
  if (index.size() < kHeader)
    refuse(index, index.size(), fmt::format("cut short: the header of a Megatron index has {} bytes", kHeader));
  index.read_at(0, bytes, sizeof bytes);
  if (std::memcmp(bytes, kMagic, sizeof kMagic) != 0) refuse(index, 0, "not an index of Megatron's (wrong magic)");
  uint64_t version, sequences, marks;
  std::memcpy(&version, bytes + 9, 8);
  std::memcpy(&sequences, bytes + 18, 8);
  std::memcpy(&marks, bytes + 26, 8);
  if (version != 1) refuse(index, 9, fmt::format("version {}; Megatron's indices have version 1", version));
  const TokenType type = type_of(index, static_cast<uint8_t>(bytes[17]));
  const uint64_t size = static_cast<uint64_t>(index.size());
  const bool possible = sequences <= size / 12 && marks <= size / 8;
  const uint64_t wanted = possible ? kHeader + 12 * sequences + 8 * marks : 0;
  if (possible && sequences > 0 && size == wanted + sequences)
    refuse(index, static_cast<int64_t>(wanted),
           fmt::format("modes of {} sequences: multimodal data, whose images are no tokens", sequences));
  if (!possible || size != wanted)
    refuse(index, 18,
           fmt::format("{} sequences and {} document marks take {} bytes with their header, the file has {}", sequences, marks,
                       possible ? fmt::format("{}", wanted) : "more", size));
  return {type, static_cast<int64_t>(sequences), static_cast<int64_t>(marks)};
}

std::vector<int64_t> read_marks(const DataFile& index, const Header& header) {
  const int64_t at = kHeader + 12 * header.sequences;
  std::vector<int64_t> marks(static_cast<size_t>(header.marks));
  index.read_at(at, marks.data(), 8 * marks.size());
  for (size_t i = 0; i < marks.size(); ++i)
    if (marks[i] < (i == 0 ? 0 : marks[i - 1]) || marks[i] > header.sequences || (i == 0 && marks[i] != 0))
      refuse(
          index, at + static_cast<int64_t>(8 * i),
          fmt::format("document mark {}; they ascend from 0 to at most {}, the number of sequences", marks[i], header.sequences));
  return marks;
}

// Adds up the lengths, and finds at which tokens the marked sequences begin.
int64_t add_lengths(const DataFile& index, const Header& header, const std::vector<int64_t>& marks, std::vector<uint64_t>& ends) {
  std::vector<int32_t> lengths;
  std::vector<int64_t> places;
  int64_t tokens = 0;
  size_t mark = 0;
  const auto pass_marks = [&](int64_t sequence) {
    for (; mark < marks.size() && marks[mark] == sequence; ++mark)
      if (static_cast<uint64_t>(tokens) > (ends.empty() ? 0 : ends.back())) ends.push_back(static_cast<uint64_t>(tokens));
  };
  for (int64_t begin = 0; begin < header.sequences; begin += kBlock) {
    const int64_t count = std::min(kBlock, header.sequences - begin);
    lengths.resize(static_cast<size_t>(count));
    places.resize(static_cast<size_t>(count));
    index.read_at(kHeader + 4 * begin, lengths.data(), 4 * lengths.size());
    index.read_at(kHeader + 4 * header.sequences + 8 * begin, places.data(), 8 * places.size());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t length = lengths[static_cast<size_t>(i)], place = places[static_cast<size_t>(i)];
      if (length < 0) refuse(index, kHeader + 4 * (begin + i), fmt::format("a sequence of {} tokens", length));
      if (place != tokens * bytes_of(header.type))
        refuse(index, kHeader + 4 * header.sequences + 8 * (begin + i),
               fmt::format("sequence {} begins at byte {} of the tokens, those before it end at {}: they must follow one another",
                           begin + i, place, tokens * bytes_of(header.type)));
      pass_marks(begin + i);
      tokens += length;
    }
  }
  pass_marks(header.sequences);
  return tokens;
}

}  // namespace

ForeignFile find_megatron(const std::filesystem::path& path) {
  const std::string extension = path.extension();
  const std::string prefix =
      extension == ".bin" || extension == ".idx" ? (path.parent_path() / path.stem()).string() : path.string();
  const DataFile index(prefix + ".idx"), tokens(prefix + ".bin");
  const Header header = read_header(index);
  ForeignFile found{.path = tokens.path(), .beside = {index.path()}, .type = header.type, .ends = std::vector<uint64_t>{}};
  found.tokens = add_lengths(index, header, read_marks(index, header), *found.ends);
  if (tokens.size() != found.tokens * bytes_of(header.type))
    throw Error(ExitCode::data,
                fmt::format("{}: {} bytes, its index {} says {} tokens of {} bytes each: {}", tokens.path().string(), tokens.size(),
                            index.path().string(), found.tokens, bytes_of(header.type), found.tokens * bytes_of(header.type)));
  return found;
}

}  // namespace drover
