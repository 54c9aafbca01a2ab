// Records one after another in a file, as TensorFlow's TFRecord format frames them, little-endian:
//
//   uint64 length | uint32 masked CRC-32C of the length's 8 bytes | data | uint32 masked CRC-32C of the data
//
// masked(crc) = rotate_right(crc, 15) + 0xa282ead8, so that a CRC over data that holds CRCs stays a good one.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace drover {

std::string frame_record(std::string_view data);

class RecordReader {
 public:
  explicit RecordReader(const std::filesystem::path& path);  // throws Error(storage) when it cannot be read
  // The next record; false at the end of the file, or where the first damaged or unfinished record begins.
  bool next(std::string& data);
  int64_t offset() const { return offset_; }  // bytes: the end of the last record that next() gave

 private:
  std::ifstream file_;
  int64_t size_ = 0, offset_ = 0;
};

}  // namespace drover
