#include "data/text_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "data/utf8.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr size_t kLookAhead = 4;  // that may_cut needs, and one to know that a cut is not the file's end

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "input " + path.string() + ": " + what);
}

// The last place in (0, limit] where a piece may end; 0: there is none.
size_t last_cut(std::string_view text, size_t limit, bool lines) {
  if (lines) return text.substr(0, limit).rfind('\n') + 1;
  for (size_t at = limit; at > 0; --at)
    if (may_cut(text, at)) return at;
  return 0;
}

// The first behind `from`; 0: there is none.
size_t first_cut(std::string_view text, size_t from, bool lines) {
  if (lines) return text.find('\n', from) + 1;
  for (size_t at = from + 1; at + kLookAhead <= text.size(); ++at)
    if (may_cut(text, at)) return at;
  return 0;
}

}  // namespace

TextReader::TextReader(std::vector<Input> inputs, std::string column, const TextPlace& from, const TextLimits& limits)
    : inputs_(std::move(inputs)), column_(std::move(column)), limits_(limits), place_(from) {
  for (int64_t i = 0; i < place_.file; ++i) files_before_ += inputs_[static_cast<size_t>(i)].bytes;
}
TextReader::~TextReader() = default;

int64_t TextReader::position() const {
  if (rows_) return files_before_ + static_cast<int64_t>(rows_->share_read() * static_cast<double>(input().bytes));
  return files_before_ + (source_ ? source_->position() : 0);
}

void TextReader::open() {
  rest_.clear();
  rest_begin_ = 0;
  at_end_ = false;
  if (input().format == InputFormat::parquet) {
    rows_ = ParquetSource::open(input().path, column_, place_.offset);
    return;
  }
  source_ = ByteSource::open(input().path);
  skip(place_.offset);
}

void TextReader::skip(int64_t bytes) {
  std::string buffer(limits_.piece, '\0');
  while (bytes > 0) {
    const size_t got = source_->read(buffer.data(), std::min(buffer.size(), static_cast<size_t>(bytes)));
    if (got == 0)
      fail(input().path, fmt::format("is shorter than it was: {} bytes are missing before the place to go on from", bytes));
    bytes -= static_cast<int64_t>(got);
  }
}

bool TextReader::fill(size_t bytes) {
  rest_.erase(0, rest_begin_);
  rest_begin_ = 0;
  size_t filled = rest_.size();
  if (filled < bytes) rest_.resize(bytes);
  while (filled < bytes && !at_end_) {
    const size_t got = source_->read(rest_.data() + filled, bytes - filled);
    filled += got;
    at_end_ = got == 0;
  }
  rest_.resize(filled);
  return !at_end_;
}

// Length of the piece at the beginning of rest_: a function of the file's bytes from there on, so that a reader may start at any piece.
size_t TextReader::find_cut() {
  const bool lines = input().format == InputFormat::jsonl;
  if (!fill(limits_.piece + kLookAhead) && rest_.size() <= limits_.piece) return rest_.size();
  const bool cuts = lines || limits_.cuts;
  size_t cut = cuts ? last_cut(rest_, limits_.piece, lines) : 0;
  for (size_t searched = limits_.piece; cut == 0;) {
    if (cuts) cut = first_cut(rest_, searched, lines);
    if (cut > 0) break;
    if (at_end_) return rest_.size();
    if (!cuts && rest_.size() > limits_.stretch)
      fail(input().path,
           fmt::format(
               "is longer than {} bytes, and this tokenizer's words may reach across any place where a text could be cut; make it "
               "records of a .jsonl",
               limits_.stretch));
    if (!lines && rest_.size() > limits_.stretch)
      fail(input().path,
           fmt::format(
               "{} bytes from byte {} on have no place where every tokenizer would split (a space behind a letter, or a line break "
               "between two lines of text); is it text? Put line breaks into it, or make it records of a .jsonl",
               limits_.stretch, place_.offset));
    if (lines && rest_.size() > limits_.line)
      fail(input().path, fmt::format("line {} (at byte {}) is longer than {} bytes; JSONL has a record a line: is it a JSON array? "
                                     "`jq -c '.[]'` makes lines of it",
                                     place_.line, place_.offset, limits_.line));
    searched = rest_.size() - kLookAhead;
    fill(rest_.size() + std::max(limits_.piece, rest_.size() / 2));
  }
  return cut;
}

void TextReader::read_rows(TextPiece& piece) {
  std::optional<std::string_view> value;
  while (piece.text.size() < limits_.piece && piece.row_ends.size() < limits_.piece / 64) {
    if (!rows_->next(value)) {
      piece.ends_document = true;
      return;
    }
    piece.text += value.value_or("");
    piece.row_ends.push_back(piece.text.size());
    piece.row_is_null.push_back(!value.has_value());
  }
}

bool TextReader::next(TextPiece& piece) {
  if (place_.file == static_cast<int64_t>(inputs_.size())) return false;
  if (!source_ && !rows_) open();
  piece = {.path = input().path, .format = input().format, .place = place_, .begins_document = place_.offset == 0};
  if (rows_) {
    read_rows(piece);
    place_.offset += static_cast<int64_t>(piece.row_ends.size());
    place_.line = place_.offset + 1;
  } else {
    const size_t cut = find_cut();
    piece.text = rest_.substr(0, cut);
    piece.ends_document = at_end_ && cut == rest_.size();
    rest_begin_ = cut;
    place_.offset += static_cast<int64_t>(cut);
    place_.line += std::count(piece.text.begin(), piece.text.end(), '\n');
  }
  place_.bytes += static_cast<int64_t>(piece.text.size());
  if (piece.ends_document) {
    files_before_ += input().bytes;
    source_.reset();
    rows_.reset();
    place_ = {.file = place_.file + 1, .offset = 0, .line = 1, .bytes = place_.bytes};
  }
  return true;
}

}  // namespace drover
