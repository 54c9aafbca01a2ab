#include <fmt/format.h>
#include <google/protobuf/stubs/common.h>
#include <hdf5.h>
#include <mpi.h>

#include "configs/load.h"
#include "data/parquet_source.h"
#include "data/record.h"
#include "launch/commands.h"
#include "trainer/build_info.h"

namespace drover {
namespace {

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);  // before MPI_Init, too
  const std::string all(text, static_cast<size_t>(length));
  return all.substr(0, all.find(','));
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("HDF5 {}.{}.{}", major, minor, release);
}

std::string protobuf_version() {
  constexpr int kVersion = GOOGLE_PROTOBUF_VERSION;
  return fmt::format("protobuf {}.{}.{}", kVersion / 1000000, kVersion / 1000 % 1000, kVersion % 1000);
}

}  // namespace

int docs_command(const std::string&) {
  fmt::print("{}", config_reference());
  return 0;
}

std::string library_versions() {
  return fmt::format("{}, {}, {}, fmt {}.{}.{}, {}, {}", mpi_version(), hdf5_version(), protobuf_version(), FMT_VERSION / 10000,
                     FMT_VERSION / 100 % 100, FMT_VERSION % 100, json_version(), parquet_version());
}

std::string version_text() { return fmt::format("{}\n{}\n{}", build_id(), instruction_set(), library_versions()); }

}  // namespace drover
