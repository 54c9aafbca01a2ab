// HDF5 as a format, not as the road: the library lays out small or empty files in memory-backed storage; the bytes of a checkpoint are
// written by our own code (docs/checkpoint_format.md says why). Called from one thread.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/files.h"
#include "kernels/view.h"

namespace drover {

struct Hdf5Dataset {
  std::string path;         // "/master/model.norm.weight@0"
  Shape extent;             // f32
  int64_t file_offset = 0;  // filled by make_skeleton
};

// A memory file that HDF5 laid out, with holes for datasets; fills their file_offset.
File make_skeleton(std::vector<Hdf5Dataset>& datasets);

// One rectangle of a whole tensor, and where it lies.
struct VirtualPart {
  std::string file, dataset;  // file: a name beside the index
  Shape offset, extent;
};
struct VirtualTensor {
  std::string path;  // "/master/model.norm.weight"
  Shape shape;
  std::vector<VirtualPart> parts;
};

// The bytes of an HDF5 file of virtual datasets.
std::string make_virtual_index(const std::vector<VirtualTensor>& tensors);

}  // namespace drover
