// What a checkpoint is made of: rectangles of logical tensors, so that any layout loads what any layout saved.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_order.h"
#include "kernels/view.h"

namespace drover {

// A rectangle of a logical tensor of rank 1 or 2: `extent` elements a dim, from `offset`.
struct Rectangle {
  Shape offset, extent;
  bool operator==(const Rectangle&) const = default;
};

// The flat elements [begin, end) of a local row-major tensor of `local` shape, which lies at `offset` in its global tensor, as global
// rectangles in flat order (at most three for a matrix: a part of a row, whole rows, a part of a row). Each is contiguous in memory.
std::vector<Rectangle> rectangles(int64_t begin, int64_t end, const Shape& local, const Shape& offset);

// One rectangle in this rank's memory.
struct Piece {
  std::string array;  // "master", "m", "v", "gradient"
  std::string name;   // logical parameter name, e.g. "model.layers.0.self_attn.q_proj.weight"
  Shape global;       // of the whole logical tensor
  Rectangle rectangle;
  float* data = nullptr;  // rectangle.extent.count() contiguous elements
};

// Everything else that a run is resumed from.
struct RunState {
  int64_t step = 0;              // optimizer steps done, skipped ones included
  int64_t applied = 0;           // Adam's t
  int64_t samples_consumed = 0;  // of the order, those that it skips included
  int64_t skipped = 0;           // steps skipped so far
  int64_t skipped_in_row = 0;
  std::string config_yaml;  // resolved
  std::string tokenizer;
  uint64_t tokenizer_hash = 0;
  uint64_t dataset_hash = 0;
  std::string build;  // build id, instruction set and threads: printed when they differ on resume
  std::string instruction_set;
  int64_t threads = 1;
  std::string layout;    // "dp 2, tp 2, pp 2"
  std::string products;  // algorithms of matrix products on GPUs (trainer/product_choices.h); "" where none were timed
  int64_t tokens = 0;    // trained on so far; 0 in a checkpoint of before mixtures: samples_consumed * train.sequence
  OrderSpec order;       // of the samples; without sources in such a checkpoint
};

}  // namespace drover
