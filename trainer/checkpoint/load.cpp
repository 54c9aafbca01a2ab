// Reading rectangles that are cut in one way out of rectangles that were cut in another. HDF5 is not called: the manifest says where
// every rectangle lies.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "kernels/base/files.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/store.h"

namespace drover {
namespace {

struct Stored {
  int file = 0;
  const pb::Rectangle* rectangle = nullptr;
};
using TensorKey = std::pair<std::string, std::string>;  // array, name

std::map<TensorKey, std::vector<Stored>> by_tensor(const pb::Manifest& manifest) {
  std::map<TensorKey, std::vector<Stored>> tensors;
  for (int i = 0; i < manifest.files_size(); ++i)
    for (const pb::Rectangle& rectangle : manifest.files(i).rectangles())
      tensors[{rectangle.array(), rectangle.name()}].push_back({i, &rectangle});
  return tensors;
}

// Rows and columns of a rectangle; a vector is one row.
struct Span2d {
  int64_t row, column, rows, columns;
};
Span2d span_of(const Shape& offset, const Shape& extent) {
  if (offset.rank == 1) return {0, offset[0], 1, extent[0]};
  return {offset[0], offset[1], extent[0], extent[1]};
}
Span2d overlap(const Span2d& a, const Span2d& b) {
  const int64_t row = std::max(a.row, b.row), column = std::max(a.column, b.column);
  return {row, column, std::min(a.row + a.rows, b.row + b.rows) - row,
          std::min(a.column + a.columns, b.column + b.columns) - column};
}

class Reader {
 public:
  Reader(const CheckpointInfo& info, const pb::Manifest& manifest) : info_(info), manifest_(manifest) {}

  // Copies what `stored` and `piece` share; returns how many elements that was.
  int64_t read(const Stored& stored, const Piece& piece) {
    const Span2d from = span_of(shape_of(stored.rectangle->offset()), shape_of(stored.rectangle->extent()));
    const Span2d to = span_of(piece.rectangle.offset, piece.rectangle.extent), both = overlap(from, to);
    if (both.rows <= 0 || both.columns <= 0) return 0;
    const auto copy_run = [&](int64_t row, int64_t count) {
      const int64_t source = (row - from.row) * from.columns + both.column - from.column;
      float* target = piece.data + (row - to.row) * to.columns + both.column - to.column;
      file(stored.file).read_at(stored.rectangle->file_offset() + 4 * source, target, static_cast<size_t>(4 * count));
      bytes += 4 * count;
    };
    if (both.columns == from.columns && both.columns == to.columns)
      copy_run(both.row, both.rows * both.columns);
    else
      for (int64_t row = both.row; row < both.row + both.rows; ++row) copy_run(row, both.columns);
    return both.rows * both.columns;
  }

  int64_t bytes = 0;

 private:
  const File& file(int index) {
    const auto found = open_.find(index);
    if (found != open_.end()) return found->second;
    return open_.emplace(index, File::open_read(info_.path / manifest_.files(index).name())).first->second;
  }
  const CheckpointInfo& info_;
  const pb::Manifest& manifest_;
  std::map<int, File> open_;
};

void require_covered(const CheckpointInfo& info, const TensorKey& tensor, int64_t held, int64_t wanted) {
  if (held == wanted) return;
  throw Error(ExitCode::resume, fmt::format("checkpoint {}: {} of {} is covered {} of {} elements", info.path.string(),
                                            tensor.first, tensor.second, held, wanted));
}

// Before memory is asked for: a damaged manifest may speak of any shape.
void require_whole(const CheckpointInfo& info, const TensorKey& tensor, const std::vector<Stored>& all, const Shape& shape) {
  int64_t held = 0;
  for (const Stored& stored : all) held += shape_of(stored.rectangle->extent()).count();
  require_covered(info, tensor, held, shape.count());
}

}  // namespace

void CheckpointStore::load(const CheckpointInfo& info, std::span<const Piece> pieces) {
  const pb::Manifest manifest = load_manifest(info.path);
  const auto tensors = by_tensor(manifest);
  Reader reader(info, manifest);
  for (const Piece& piece : pieces) {
    const auto found = tensors.find({piece.array, piece.name});
    if (found == tensors.end())
      throw Error(ExitCode::resume, fmt::format("checkpoint {} has no {} of {}: it is of another model", info.path.string(),
                                                piece.array, piece.name));
    const Shape stored_shape = shape_of(found->second.front().rectangle->global());
    if (!(stored_shape == piece.global))
      throw Error(ExitCode::resume, fmt::format("checkpoint {}: {} has shape {}, this model's has {}", info.path.string(),
                                                piece.name, to_string(stored_shape), to_string(piece.global)));
    int64_t filled = 0;
    for (const Stored& stored : found->second) filled += reader.read(stored, piece);
    require_covered(info, found->first, filled, piece.rectangle.extent.count());
  }
  bytes_read_ += reader.bytes;
}

std::string describe_checkpoint(const std::filesystem::path& checkpoint) {
  const pb::Manifest manifest = load_manifest(checkpoint);
  const pb::State& state = manifest.state();
  std::string text = fmt::format(
      "checkpoint  {}\nstep        {} ({} updates applied, {} skipped)\nsamples     {} consumed\nlayout      {}\n"
      "tokenizer   {} ({:016x})\nbuild       {}, {}, {} threads\n",
      checkpoint.string(), state.step(), state.applied(), state.skipped(), state.samples_consumed(), state.layout(),
      state.tokenizer(), state.tokenizer_hash(), state.build(), state.instruction_set(), state.threads());
  if (!state.products().empty()) text += "products    " + state.products();
  for (const pb::File& file : manifest.files())
    text += fmt::format("file        {} {} bytes, {} rectangles\n", file.name(), file.bytes(), file.rectangles_size());
  for (const auto& [key, stored] : by_tensor(manifest))
    text += fmt::format("{:<9} {:<60} {} in {} rectangles\n", key.first, key.second,
                        to_string(shape_of(stored.front().rectangle->global())), stored.size());
  return text;
}

std::vector<TensorDifference> compare_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto self = make_self_communicator("compare");
  CheckpointStore store({}, *self);
  const CheckpointInfo info_a = store.verified(a), info_b = store.verified(b);
  const pb::Manifest manifest_a = load_manifest(a), manifest_b = load_manifest(b);
  const auto tensors = by_tensor(manifest_a), other = by_tensor(manifest_b);
  for (const auto& [key, stored] : other)
    if (!tensors.contains(key))
      throw Error(ExitCode::resume, fmt::format("only {} has {} of {}", b.string(), key.first, key.second));
  std::vector<TensorDifference> differences;
  for (const auto& [key, stored] : tensors) {
    const Shape shape = shape_of(stored.front().rectangle->global());
    require_whole(info_a, key, stored, shape);
    Shape zero = shape;
    zero.dims = {};
    std::vector<float> x(static_cast<size_t>(shape.count())), y(x.size());
    const Piece piece_a{key.first, key.second, shape, {zero, shape}, x.data()},
        piece_b{key.first, key.second, shape, {zero, shape}, y.data()};
    store.load(info_a, {&piece_a, 1});
    store.load(info_b, {&piece_b, 1});
    TensorDifference difference{.array = key.first, .name = key.second};
    double squared = 0, norm = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = static_cast<double>(y[i]) - x[i];
      squared += d * d;
      norm += static_cast<double>(x[i]) * x[i];
      difference.largest = std::max(difference.largest, std::abs(d));
    }
    difference.relative = squared == 0 ? 0 : std::sqrt(squared / norm);
    difference.equal_bits = std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
    differences.push_back(difference);
  }
  return differences;
}

}  // namespace drover
