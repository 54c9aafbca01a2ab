#include "data/import_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr int64_t kBlock = 1 << 18;  // tokens read at a time

}  // namespace

void require_document_rule(const ImportOptions& options, const ForeignFile& file) {
  const bool ruled = options.end_token || options.begin_token || options.whole_files;
  if (file.ends && ruled)
    throw Error(ExitCode::config, fmt::format("{} says where documents end: without --end-token, --begin-token and --whole-files",
                                              file.path.string()));
  if (!file.ends && !ruled)
    throw Error(ExitCode::config,
                fmt::format("{} does not say where documents end: --end-token ID (after each), --begin-token ID (before "
                            "each) or --whole-files (a file is a document)",
                            file.path.string()));
}

ImportSource::ImportSource(const ImportOptions& options, int64_t vocab, ForeignFile found)
    : options_(options), vocab_(vocab), found_(std::move(found)), file_(found_.path) {
  if (found_.ends) ends_ = std::move(*found_.ends);
  if (found_.ends && found_.tokens > 0 && (ends_.empty() || ends_.back() < static_cast<uint64_t>(found_.tokens)))
    ends_.push_back(static_cast<uint64_t>(found_.tokens));
}

bool ImportSource::next() {
  at_ += static_cast<int64_t>(tokens.size());
  tokens.resize(static_cast<size_t>(std::min(kBlock, found_.tokens - at_)));
  const int64_t width = bytes_of(found_.type), offset = found_.offset + at_ * width;
  bytes.resize(tokens.size() * static_cast<size_t>(width));
  ends.clear();
  if (tokens.empty()) return false;
  file_.read_at(offset, bytes.data(), bytes.size());
  convert();
  cut();
  return true;
}

void ImportSource::require_unchanged() const {
  const DataFile now(found_.path);
  if (now.size() != file_.size() || now.modified() != file_.modified())
    throw Error(ExitCode::data, found_.path.string() + " was written to while it was imported");
}

template <class Token> void ImportSource::convert_from() {
  const Token* from = reinterpret_cast<const Token*>(bytes.data());
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (std::cmp_less(from[i], 0) || std::cmp_greater_equal(from[i], vocab_)) {
      const int64_t index = at_ + static_cast<int64_t>(i);
      throw Error(ExitCode::data,
                  fmt::format("{}: at byte {}: token {} at index {} is outside the vocabulary of {}", found_.path.string(),
                              found_.offset + index * bytes_of(found_.type), from[i], index, vocab_));
    }
    tokens[i] = static_cast<int32_t>(static_cast<std::make_unsigned_t<Token>>(from[i]));  // it is not negative
  }
}

void ImportSource::convert() {
  switch (found_.type) {
    case TokenType::u8: return convert_from<uint8_t>();
    case TokenType::i8: return convert_from<int8_t>();
    case TokenType::u16: return convert_from<uint16_t>();
    case TokenType::i16: return convert_from<int16_t>();
    case TokenType::u32: return convert_from<uint32_t>();
    case TokenType::i32: return convert_from<int32_t>();
    case TokenType::u64: return convert_from<uint64_t>();
    case TokenType::i64: return convert_from<int64_t>();
  }
}
void ImportSource::cut() {
  const size_t count = tokens.size();
  for (; next_end_ < ends_.size() && ends_[next_end_] <= static_cast<uint64_t>(at_) + count; ++next_end_)
    ends.push_back(static_cast<size_t>(ends_[next_end_] - static_cast<uint64_t>(at_)));
  if (found_.ends) return;
  for (size_t i = 0; i < count; ++i) {
    if (options_.begin_token && tokens[i] == *options_.begin_token && at_ + static_cast<int64_t>(i) > 0) ends.push_back(i);
    if (options_.end_token && tokens[i] == *options_.end_token) ends.push_back(i + 1);
  }
  if (at_ + static_cast<int64_t>(count) == found_.tokens && (ends.empty() || ends.back() < count)) ends.push_back(count);
}

}  // namespace drover
