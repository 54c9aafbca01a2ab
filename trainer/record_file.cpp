#include "trainer/record_file.h"

#include <bit>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace drover {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

constexpr int64_t kHeader = sizeof(uint64_t) + sizeof(uint32_t), kTrailer = sizeof(uint32_t);

uint32_t masked_crc(const void* data, size_t bytes) { return std::rotr(crc32c(data, bytes), 15) + 0xa282ead8u; }

template <class Number> void put(std::string& text, Number value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class Number> Number take(const char* at) {
  Number value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

std::string frame_record(std::string_view data) {
  std::string record;
  record.reserve(data.size() + kHeader + kTrailer);
  put<uint64_t>(record, data.size());
  put(record, masked_crc(record.data(), record.size()));
  record += data;
  put(record, masked_crc(data.data(), data.size()));
  return record;
}

RecordReader::RecordReader(const std::filesystem::path& path) : file_(path, std::ios::binary | std::ios::ate) {
  if (!file_) throw Error(ExitCode::storage, "cannot open " + path.string());
  size_ = file_.tellg();
  file_.seekg(0);
}

bool RecordReader::next(std::string& data) {
  char header[kHeader];
  if (size_ - offset_ < kHeader + kTrailer || !file_.read(header, kHeader)) return false;
  if (take<uint32_t>(header + sizeof(uint64_t)) != masked_crc(header, sizeof(uint64_t))) return false;
  const uint64_t length = take<uint64_t>(header);
  if (length > static_cast<uint64_t>(size_ - offset_ - kHeader - kTrailer)) return false;
  data.resize(length);
  char trailer[kTrailer];
  if (!file_.read(data.data(), static_cast<std::streamsize>(length)) || !file_.read(trailer, kTrailer)) return false;
  if (take<uint32_t>(trailer) != masked_crc(data.data(), data.size())) return false;
  offset_ += kHeader + kTrailer + static_cast<int64_t>(length);
  return true;
}

}  // namespace drover
