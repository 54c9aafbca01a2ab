#include "data/text_source.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "input " + path.string() + ": " + what);
}

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

// ".jsonl" of a.jsonl, A.JSONL and a.jsonl.gz
std::string format_of(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".gz" || extension == ".zst" ? lower_extension(path.stem()) : extension;
}

void require_text(const std::filesystem::path& path) {
  const std::string format = format_of(path);
  if (format == ".json")
    fail(path,
         "JSON is no plain text; if it has a record a line, name it .jsonl (a link will do); of an array, "
         "`jq -c '.[]' FILE.json > FILE.jsonl` makes such a file");
  if (format == ".parquet")
    fail(path,
         "Parquet is not read; convert it, in Python: "
         "pandas.read_parquet(\"FILE.parquet\").to_json(\"FILE.jsonl\", orient=\"records\", lines=True)");
}

class PlainSource final : public ByteSource {  // zlib reads plain files too, as they are
 public:
  explicit PlainSource(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr) fail(path, std::string("cannot be opened: ") + std::strerror(errno));
    gzbuffer(file_, 1u << 18);
  }
  ~PlainSource() override { gzclose_r(file_); }
  size_t read(char* buffer, size_t bytes) override {
    const int got = gzread(file_, buffer, static_cast<unsigned>(std::min<size_t>(bytes, 1u << 30)));
    int code = Z_OK;
    const char* message = gzerror(file_, &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) fail(path_, std::string("cannot be read: ") + message);
    return static_cast<size_t>(got);
  }

 private:
  std::filesystem::path path_;
  gzFile file_;
};

class ZstdSource final : public ByteSource {
 public:
  explicit ZstdSource(const std::filesystem::path& path)
      : path_(path), raw_(path), stream_(ZSTD_createDStream()), buffer_(ZSTD_DStreamInSize()) {
    if (stream_ == nullptr) fail(path, "no memory to decompress");
  }
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }
  size_t read(char* buffer, size_t bytes) override {
    ZSTD_outBuffer out{buffer, bytes, 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size) {
        in_ = {buffer_.data(), raw_.read(buffer_.data(), buffer_.size()), 0};
        if (in_.size == 0) {
          if (open_frame_) fail(path_, "truncated zstd data");
          return 0;
        }
      }
      const size_t left = ZSTD_decompressStream(stream_, &out, &in_);
      if (ZSTD_isError(left)) fail(path_, std::string("damaged zstd data: ") + ZSTD_getErrorName(left));
      open_frame_ = left != 0;
    }
    return out.pos;
  }

 private:
  std::filesystem::path path_;
  PlainSource raw_;
  ZSTD_DStream* stream_;
  std::vector<char> buffer_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool open_frame_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> ByteSource::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) fail(path, "does not exist");
  if (std::filesystem::is_directory(path, error)) fail(path, "is a directory; name the files in it");
  if (lower_extension(path) == ".zst") return std::make_unique<ZstdSource>(path);
  return std::make_unique<PlainSource>(path);
}

bool is_jsonl(const std::filesystem::path& path) {
  const std::string format = format_of(path);
  return format == ".jsonl" || format == ".ndjson";
}

TextReader::TextReader(std::vector<std::filesystem::path> inputs) : inputs_(std::move(inputs)) {
  for (const auto& path : inputs_) require_text(path);
}
TextReader::~TextReader() = default;

bool TextReader::open_next() {
  if (input_ == inputs_.size()) return false;
  source_ = ByteSource::open(inputs_[input_]);
  rest_.clear();
  line_ = 1;
  first_piece_ = true;
  return true;
}

bool TextReader::next(TextPiece& piece) {
  if (!source_ && !open_next()) return false;
  bool ended = false;
  size_t cut = std::string::npos;
  // A JSONL line may be longer than a piece: read on until there is a line break.
  while (cut == std::string::npos) {
    const size_t before = rest_.size();
    rest_.resize(before + kPiece);
    size_t got = 0;
    while (got < kPiece) {
      const size_t part = source_->read(rest_.data() + before + got, kPiece - got);
      if (part == 0) break;
      got += part;
    }
    rest_.resize(before + got);
    ended = got < kPiece;
    const size_t newline = std::string_view(rest_).substr(before).rfind('\n');
    if (!ended && newline != std::string_view::npos)
      cut = before + newline + 1;
    else if (ended || !is_jsonl(inputs_[input_]))
      cut = rest_.size();
  }
  piece = {.path = inputs_[input_],
           .text = rest_.substr(0, cut),
           .jsonl = is_jsonl(inputs_[input_]),
           .first_line = line_,
           .begins_document = first_piece_,
           .ends_document = ended};
  rest_.erase(0, cut);
  bytes_ += static_cast<int64_t>(piece.text.size());
  line_ += std::count(piece.text.begin(), piece.text.end(), '\n');
  first_piece_ = false;
  if (ended) {
    source_.reset();
    ++input_;
  }
  return true;
}

}  // namespace drover
