#include "parallel/mesh.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace drover {
namespace {

std::array<int, kAxes> sizes_of(const ParallelConfig& parallel) {
  const int dp = static_cast<int>(parallel.dp);
  return {static_cast<int>(parallel.tp), static_cast<int>(parallel.cp), static_cast<int>(parallel.pp), parallel.zero == 0 ? 1 : dp,
          parallel.zero == 0 ? dp : 1};
}

}  // namespace

Mesh::Mesh(std::array<int, kAxes> sizes) : sizes_(sizes) {
  for (int size : sizes_) DROVER_CHECK(size >= 1, "axis of size " + std::to_string(size));
}

Mesh::Mesh(const ParallelConfig& parallel) : Mesh(sizes_of(parallel)) {}

int Mesh::size() const {
  int product = 1;
  for (int size : sizes_) product *= size;
  return product;
}

int Mesh::size(Axis axis) const { return sizes_[static_cast<size_t>(axis)]; }

int Mesh::coordinate(int rank, Axis axis) const {
  for (size_t inner = 0; inner < static_cast<size_t>(axis); ++inner) rank /= sizes_[inner];
  return rank % sizes_[static_cast<size_t>(axis)];
}

int Mesh::rank_of(const std::array<int, kAxes>& coordinates) const {
  int rank = 0;
  for (size_t axis = kAxes; axis-- > 0;) rank = rank * sizes_[axis] + coordinates[axis];
  return rank;
}

std::vector<int> Mesh::group(int rank, std::span<const Axis> axes) const {
  std::array<int, kAxes> base{};
  for (int axis = 0; axis < kAxes; ++axis) base[static_cast<size_t>(axis)] = coordinate(rank, static_cast<Axis>(axis));
  for (Axis axis : axes) base[static_cast<size_t>(axis)] = 0;
  std::vector<int> ranks{rank_of(base)};
  for (Axis axis : axes) {
    int stride = 1;
    for (size_t inner = 0; inner < static_cast<size_t>(axis); ++inner) stride *= sizes_[inner];
    const size_t count = ranks.size();
    for (int step = 1; step < size(axis); ++step)
      for (size_t i = 0; i < count; ++i) ranks.push_back(ranks[i] + step * stride);
  }
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

int Mesh::dp_coordinate(int rank) const {
  return coordinate(rank, Axis::dp_replicate) * size(Axis::dp_shard) + coordinate(rank, Axis::dp_shard);
}

std::string Mesh::describe(int rank) const {
  std::string text = "rank " + std::to_string(rank) + " (dp " + std::to_string(dp_coordinate(rank)) + ", pp " +
                     std::to_string(coordinate(rank, Axis::pp));
  if (size(Axis::cp) > 1) text += ", cp " + std::to_string(coordinate(rank, Axis::cp));
  return text + ", tp " + std::to_string(coordinate(rank, Axis::tp)) + ")";
}

}  // namespace drover
