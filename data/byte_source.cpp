#include "data/byte_source.h"

#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/base/error.h"

namespace drover {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "input " + path.string() + ": " + what);
}

class PlainSource final : public ByteSource {  // zlib reads plain files too, as they are
 public:
  explicit PlainSource(const std::filesystem::path& path)
      : path_(path), file_(path == "-" ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path.c_str(), "rb")) {
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
  int64_t position() const override { return std::max<int64_t>(0, gzoffset(file_)); }

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
  int64_t position() const override { return raw_.position(); }

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
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (extension == ".zst") return std::make_unique<ZstdSource>(path);
  return std::make_unique<PlainSource>(path);
}

}  // namespace drover
