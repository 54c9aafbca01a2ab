// HDF5 as a format, not as the road: the library lays out small or empty files in memory-backed storage; the bytes of a checkpoint are
// written by our own code (docs/checkpoint_format.md says why). Called from one thread.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/view.h"

namespace drover {

struct Hdf5Dataset {
  std::string path;         // "/master/model.norm.weight@0"
  Shape extent;             // f32
  int64_t file_offset = 0;  // filled by make_skeleton
};

// A file laid out by HDF5 whose datasets are holes. Removed when destroyed.
class Hdf5Skeleton {
 public:
  explicit Hdf5Skeleton(std::vector<Hdf5Dataset>& datasets, const std::filesystem::path& fallback_directory);
  ~Hdf5Skeleton();
  Hdf5Skeleton(const Hdf5Skeleton&) = delete;
  Hdf5Skeleton& operator=(const Hdf5Skeleton&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// One rectangle of a whole tensor, and where it lies.
struct VirtualPart {
  std::string file, dataset;  // file: a name beside the index
  Shape offset, extent;
};
struct VirtualTensor {
  std::string path;           // "/master/model.norm.weight"
  Shape shape;
  std::vector<VirtualPart> parts;
};

// The bytes of an HDF5 file of virtual datasets.
std::string make_virtual_index(const std::vector<VirtualTensor>& tensors, const std::filesystem::path& fallback_directory);

}  // namespace drover
