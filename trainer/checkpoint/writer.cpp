#include "trainer/checkpoint/writer.h"

#include <algorithm>
#include <map>

#include "kernels/base/files.h"
#include "kernels/base/hash.h"
#include "trainer/checkpoint/hdf5.h"

namespace drover {
namespace {

// Appends to a file of known size, hashing each stripe.
class HashedFile {
 public:
  HashedFile(const std::filesystem::path& path, int64_t bytes) : file_(File::create(path)) { file_.allocate(bytes); }
  void append(const void* data, size_t bytes) {
    file_.write_at(at_, data, bytes);
    for (const char *from = static_cast<const char*>(data), *end = from + bytes; from < end;) {
      const int64_t part = std::min<int64_t>(end - from, kStripeBytes - at_ % kStripeBytes);
      hash_.update(from, static_cast<size_t>(part));
      from += part;
      at_ += part;
      if (at_ % kStripeBytes == 0) end_stripe();
    }
  }
  // Up to `end` from the same places of the skeleton: HDF5's own structures, and the gaps that alignment leaves.
  void append_skeleton(const File& skeleton, int64_t end) {
    std::vector<char> buffer(size_t{64} << 10);
    while (at_ < end) {
      const size_t part = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(buffer.size()), end - at_));
      skeleton.read_at(at_, buffer.data(), part);
      append(buffer.data(), part);
    }
  }
  void sync() { file_.sync(); }
  pb::File describe(const std::string& name) {
    if (at_ % kStripeBytes != 0) end_stripe();
    pb::File out;
    out.set_name(name);
    out.set_bytes(at_);
    out.mutable_stripes()->Assign(stripes_.begin(), stripes_.end());
    return out;
  }

 private:
  void end_stripe() {
    stripes_.push_back(hash_.digest());
    hash_.reset();
  }
  File file_;
  Xxh3Stream hash_;  // of the stripe that `at_` lies in
  std::vector<uint64_t> stripes_;
  int64_t at_ = 0;
};

std::string dataset_path(const Piece& piece) {
  std::string path = "/" + piece.array + "/" + piece.name + "@";
  for (int dim = 0; dim < piece.rectangle.offset.rank; ++dim)
    path += (dim ? "," : "") + std::to_string(piece.rectangle.offset[dim]);
  return path;
}

pb::Rectangle describe(const Piece& piece, const Hdf5Dataset& dataset) {
  pb::Rectangle out;
  out.set_array(piece.array);
  out.set_name(piece.name);
  for (int dim = 0; dim < piece.global.rank; ++dim) {
    out.add_global(piece.global[dim]);
    out.add_offset(piece.rectangle.offset[dim]);
    out.add_extent(piece.rectangle.extent[dim]);
  }
  out.set_dataset(dataset.path);
  out.set_file_offset(dataset.file_offset);
  out.set_xxh3(xxh3(piece.data, static_cast<size_t>(dataset.extent.count()) * sizeof(float)));
  return out;
}

}  // namespace

pb::File write_rank_file(const std::filesystem::path& directory, const std::string& name, std::span<const Piece> pieces,
                         const std::function<void(const char*)>& stage) {
  std::vector<Hdf5Dataset> datasets;
  for (const Piece& piece : pieces) datasets.push_back({dataset_path(piece), piece.rectangle.extent});
  const File layout = make_skeleton(datasets);
  stage("skeleton made");
  HashedFile file(directory / name, layout.size());
  stage("space reserved");
  std::vector<size_t> order(pieces.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return datasets[a].file_offset < datasets[b].file_offset; });
  for (const size_t i : order) {
    file.append_skeleton(layout, datasets[i].file_offset);
    file.append(pieces[i].data, static_cast<size_t>(datasets[i].extent.count()) * sizeof(float));
  }
  file.append_skeleton(layout, layout.size());
  stage("data written");
  file.sync();
  stage("file synced");
  pb::File out = file.describe(name);
  for (size_t i = 0; i < pieces.size(); ++i) *out.add_rectangles() = describe(pieces[i], datasets[i]);
  return out;
}

int64_t rectangle_count(const pb::Manifest& manifest) {
  int64_t count = 0;
  for (const pb::File& file : manifest.files()) count += file.rectangles_size();
  return count;
}

pb::File write_index_file(const std::filesystem::path& directory, const std::string& name, const pb::Manifest& manifest) {
  std::map<std::string, VirtualTensor> tensors;  // by path: the same order in every layout
  for (const pb::File& file : manifest.files())
    for (const pb::Rectangle& rectangle : file.rectangles()) {
      const std::string path = "/" + rectangle.array() + "/" + rectangle.name();
      VirtualTensor& tensor = tensors[path];
      tensor.path = path;
      tensor.shape = shape_of(rectangle.global());
      tensor.parts.push_back({file.name(), rectangle.dataset(), shape_of(rectangle.offset()), shape_of(rectangle.extent())});
    }
  std::vector<VirtualTensor> all;
  all.reserve(tensors.size());
  for (auto& [path, tensor] : tensors) all.push_back(std::move(tensor));
  const std::string bytes = make_virtual_index(all);
  HashedFile file(directory / name, static_cast<int64_t>(bytes.size()));
  file.append(bytes.data(), bytes.size());
  file.sync();
  return file.describe(kIndexName);
}

}  // namespace drover
