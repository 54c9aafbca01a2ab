#include "trainer/checkpoint/hdf5.h"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <utility>

#include "kernels/base/error.h"

namespace drover {
namespace {

// An HDF5 identifier that closes itself.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t), const char* what) : id_(id), close_(close) {
    if (id < 0) throw Error(ExitCode::storage, std::string("HDF5 could not make ") + what);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

void require(herr_t code, const char* what) {
  if (code < 0) throw Error(ExitCode::storage, std::string("HDF5 failed to ") + what);
}

constexpr int64_t kLayoutBytes = 64 << 10, kDatasetBytes = 4 << 10, kMappingBytes = 512;  // HDF5's own structures take less

// A directory with room for HDF5's structures, in memory where there is such a place. HDF5 is never let near a full disk: on one, it may
// crash, or report success.
std::string layout_directory(int64_t bytes) {
  std::error_code none;
  const std::string other = std::filesystem::temp_directory_path(none).string();
  for (const std::string& directory : {std::string("/dev/shm"), other}) {
    struct statvfs status {};
    if (access(directory.c_str(), W_OK) != 0 || statvfs(directory.c_str(), &status) != 0) continue;
    if (static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize) >= bytes) return directory;
  }
  throw Error(ExitCode::storage, "laying out a checkpoint file takes " + std::to_string(bytes >> 10) +
                                     " KB in /dev/shm or in TMPDIR (" + other + "): neither has them");
}

// A file as `fill` makes it through HDF5, with at most `bytes` of structures. Its name is gone once both sides have it open, so that a killed
// process leaves nothing behind (HDF5 itself opens no file without a name).
template <class Fill> File lay_out(int64_t bytes, Fill&& fill) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // what fails is said once, by us
  std::string path = layout_directory(bytes) + "/drover_XXXXXX";
  const int descriptor = mkostemp(path.data(), O_CLOEXEC);
  if (descriptor < 0) throw Error(ExitCode::storage, "cannot create " + path + ": " + std::strerror(errno));
  File file = File::adopt(descriptor, path);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "file properties");
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "file properties");
  const bool prepared = H5Pset_alignment(access, 4096, 4096) >= 0 && H5Pset_obj_track_times(creation, false) >= 0;
  const hid_t made = prepared ? H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access) : -1;
  unlink(path.c_str());
  const Handle hdf5(made, H5Fclose, "a file");
  fill(hdf5);
  require(H5Fflush(hdf5, H5F_SCOPE_GLOBAL), "flush");
  return file;
}

// The array's group, without time stamps: equal states give equal files.
void make_group(hid_t file, const std::string& dataset_path) {
  const std::string group = dataset_path.substr(0, dataset_path.find('/', 1));
  if (H5Lexists(file, group.c_str(), H5P_DEFAULT) > 0) return;
  const Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "group properties");
  require(H5Pset_obj_track_times(properties, false), "leave out times");
  const Handle made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, properties, H5P_DEFAULT), H5Gclose, "a group");
}

Handle make_space(const Shape& shape) {
  std::vector<hsize_t> dims(static_cast<size_t>(shape.rank));
  for (int dim = 0; dim < shape.rank; ++dim) dims[static_cast<size_t>(dim)] = static_cast<hsize_t>(shape[dim]);
  return {H5Screate_simple(shape.rank, dims.data(), nullptr), H5Sclose, "a dataspace"};
}

Handle dataset_properties() {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "dataset properties");
  require(H5Pset_obj_track_times(properties, false), "leave out times");
  return properties;
}

}  // namespace

File make_skeleton(std::vector<Hdf5Dataset>& datasets) {
  return lay_out(kLayoutBytes + kDatasetBytes * std::ssize(datasets), [&](hid_t file) {
    for (Hdf5Dataset& dataset : datasets) {
      make_group(file, dataset.path);
      const Handle properties = dataset_properties();
      require(H5Pset_layout(properties, H5D_CONTIGUOUS), "set the layout");
      require(H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY), "set the allocation");
      require(H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER), "leave out the fill");
      const Handle space = make_space(dataset.extent);
      const Handle made(H5Dcreate2(file, dataset.path.c_str(), H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT),
                        H5Dclose, "a dataset");
      const haddr_t offset = H5Dget_offset(made);
      if (offset == HADDR_UNDEF) throw Error(ExitCode::storage, "HDF5 gave no place for " + dataset.path);
      dataset.file_offset = static_cast<int64_t>(offset);
    }
  });
}

std::string make_virtual_index(const std::vector<VirtualTensor>& tensors) {
  int64_t room = kLayoutBytes;
  for (const VirtualTensor& tensor : tensors) room += kDatasetBytes + kMappingBytes * std::ssize(tensor.parts);
  const File file = lay_out(room, [&](hid_t hdf5) {
    for (const VirtualTensor& tensor : tensors) {
      make_group(hdf5, tensor.path);
      const Handle properties = dataset_properties();
      const Handle space = make_space(tensor.shape);
      for (const VirtualPart& part : tensor.parts) {
        std::vector<hsize_t> start, count;
        for (int dim = 0; dim < part.offset.rank; ++dim) {
          start.push_back(static_cast<hsize_t>(part.offset[dim]));
          count.push_back(static_cast<hsize_t>(part.extent[dim]));
        }
        require(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr), "select a rectangle");
        const Handle source = make_space(part.extent);
        require(H5Pset_virtual(properties, space, part.file.c_str(), part.dataset.c_str(), source), "map a rectangle");
      }
      require(H5Sselect_all(space), "select a tensor");
      const Handle made(H5Dcreate2(hdf5, tensor.path.c_str(), H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT),
                        H5Dclose, "a virtual dataset");
    }
  });
  std::string bytes(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, bytes.data(), bytes.size());
  return bytes;
}

}  // namespace drover
