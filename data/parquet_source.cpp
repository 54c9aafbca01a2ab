#include "data/parquet_source.h"

#include "kernels/base/error.h"

namespace drover {

bool reads_parquet() { return false; }
std::string parquet_version() { return "without Arrow (no Parquet is read)"; }
std::unique_ptr<ParquetSource> ParquetSource::open(const std::filesystem::path&, const std::string&, int64_t) {
  DROVER_CHECK(false, "a build without Arrow reads no Parquet");
  return nullptr;
}

}  // namespace drover
