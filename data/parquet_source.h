// Documents of a string column of a Parquet file, by Arrow C++ where CMake found it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace drover {

bool reads_parquet();           // whether this build can
std::string parquet_version();  // "Arrow 26.0.0", or "without" and the remedy, for `drover --version`

// The rows of one column, in order, in constant memory: a row group at a time, and of that a batch of rows. Throws Error(data) naming the file for
// one that is damaged, has no such column, or has one that holds no strings.
class ParquetSource {
 public:
  virtual ~ParquetSource() = default;
  virtual bool next(
      std::optional<std::string_view>& value) = 0;  // false behind the last row; no value: null; valid until the next call
  virtual double share_read() const = 0;            // of the rows
  // `row`: the first to give, 0 to the number of rows. REQUIRES: reads_parquet().
  static std::unique_ptr<ParquetSource> open(const std::filesystem::path& path, const std::string& column, int64_t row);
};

}  // namespace drover
