// The mesh against its definition, over every small layout.
#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr std::array<Axis, 5> kAll = {Axis::tp, Axis::cp, Axis::pp, Axis::dp_shard, Axis::dp_replicate};

// Calls body(sizes, coordinates, rank) for every rank of every mesh with axes up to 3, in the documented order of ranks.
template <class Body> void for_every_rank(Body&& body) {
  for (int code = 0; code < 243; ++code) {
    std::array<int, kAxes> sizes{};
    for (int axis = 0, left = code; axis < kAxes; ++axis, left /= 3) sizes[static_cast<size_t>(axis)] = left % 3 + 1;
    int rank = 0;
    for (int replicate = 0; replicate < sizes[4]; ++replicate)
      for (int shard = 0; shard < sizes[3]; ++shard)
        for (int p = 0; p < sizes[2]; ++p)
          for (int c = 0; c < sizes[1]; ++c)
            for (int t = 0; t < sizes[0]; ++t) body(sizes, std::array<int, kAxes>{t, c, p, shard, replicate}, rank++);
  }
}

TEST(Mesh, CoordinatesFollowTheDocumentedOrder) {
  for_every_rank([](const std::array<int, kAxes>& sizes, const std::array<int, kAxes>& at, int rank) {
    const Mesh mesh(sizes);
    ASSERT_EQ(mesh.rank_of(at), rank);
    for (const Axis axis : kAll) ASSERT_EQ(mesh.coordinate(rank, axis), at[static_cast<size_t>(axis)]);
    ASSERT_EQ(mesh.dp_coordinate(rank), at[4] * sizes[3] + at[3]);
    ASSERT_EQ(mesh.size(), sizes[0] * sizes[1] * sizes[2] * sizes[3] * sizes[4]);
    ASSERT_EQ(mesh.dp(), sizes[3] * sizes[4]);
  });
}

TEST(Mesh, GroupsAreTheRanksThatDifferAlongTheAxesOnly) {
  const std::vector<std::array<int, kAxes>> meshes = {
      {2, 1, 2, 2, 1}, {3, 2, 1, 2, 2}, {1, 1, 4, 1, 3}, {2, 1, 3, 2, 2}, {1, 1, 1, 1, 1}};
  for (const auto& sizes : meshes) {
    const Mesh mesh(sizes);
    for (int chosen = 0; chosen < 32; ++chosen) {
      std::vector<Axis> axes;
      for (const Axis axis : kAll)
        if (chosen >> static_cast<int>(axis) & 1) axes.push_back(axis);
      std::vector<Axis> reversed(axes.rbegin(), axes.rend());
      for (int rank = 0; rank < mesh.size(); ++rank) {
        std::vector<int> expected;
        for (int other = 0; other < mesh.size(); ++other) {
          bool same = true;
          for (const Axis axis : kAll)
            if (!(chosen >> static_cast<int>(axis) & 1)) same = same && mesh.coordinate(rank, axis) == mesh.coordinate(other, axis);
          if (same) expected.push_back(other);
        }
        ASSERT_EQ(mesh.group(rank, axes), expected);
        ASSERT_EQ(mesh.group(rank, reversed), expected);
      }
    }
  }
}

TEST(Mesh, ZeroStageDecidesWhichAxisIsDataParallel) {
  ParallelConfig parallel;
  parallel.dp = 4, parallel.tp = 2, parallel.pp = 3;
  parallel.zero = 0;
  EXPECT_EQ(Mesh(parallel).size(Axis::dp_replicate), 4);
  EXPECT_EQ(Mesh(parallel).size(Axis::dp_shard), 1);
  parallel.zero = 1;
  EXPECT_EQ(Mesh(parallel).size(Axis::dp_replicate), 1);
  EXPECT_EQ(Mesh(parallel).size(Axis::dp_shard), 4);
  EXPECT_EQ(Mesh(parallel).size(), 24);
  EXPECT_EQ(Mesh(parallel).dp(), 4);
}

TEST(Mesh, TensorParallelRanksAreNeighbours) {
  const Mesh mesh(std::array{2, 1, 2, 2, 1});
  EXPECT_EQ(mesh.group(5, std::array{Axis::tp}), (std::vector<int>{4, 5}));
  EXPECT_EQ(mesh.group(5, std::array{Axis::pp}), (std::vector<int>{5, 7}));
  EXPECT_EQ(mesh.group(5, std::array{Axis::dp_shard}), (std::vector<int>{1, 5}));
  EXPECT_EQ(mesh.describe(5), "rank 5 (dp 1, pp 0, tp 1)");
}

TEST(Mesh, RefusesAnEmptyAxis) { EXPECT_THROW(Mesh(std::array<int, kAxes>{1, 0, 1, 1, 1}), Error); }

}  // namespace
}  // namespace drover
