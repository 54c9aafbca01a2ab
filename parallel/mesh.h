// Where a rank stands in the parallel layout: pure arithmetic, no MPI, no state. rank = ((((replicate * shard + s) * pp + p) * cp + c) *
// tp + t: the axes from innermost (fastest, NVLink) to outermost.
//
// Data parallelism is two axes: `dp_shard` ranks divide the optimizer state among them (ZeRO-1), `dp_replicate` groups hold copies of
// it. ZeRO-0 is dp_shard = 1; ZeRO-1 is dp_replicate = 1; HSDP is anything between. No other code branches on the ZeRO stage.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "configs/config.h"

namespace drover {

enum class Axis : uint8_t { tp, cp, pp, dp_shard, dp_replicate };  // innermost first
constexpr int kAxes = 5;

class Mesh {
 public:
  explicit Mesh(std::array<int, kAxes> sizes);  // in the order of Axis
  explicit Mesh(const ParallelConfig& parallel);

  int size() const;
  int size(Axis axis) const;
  int coordinate(int rank, Axis axis) const;
  int rank_of(const std::array<int, kAxes>& coordinates) const;
  // The ranks that differ from `rank` only along `axes`, ascending; `rank` is among them.
  std::vector<int> group(int rank, std::span<const Axis> axes) const;
  int dp() const { return size(Axis::dp_shard) * size(Axis::dp_replicate); }
  int dp_coordinate(int rank) const;     // 0 .. dp() - 1
  std::string describe(int rank) const;  // "rank 5 (dp 1, pp 0, tp 1)"

 private:
  std::array<int, kAxes> sizes_;
};

}  // namespace drover
