#include "tests/simt/cudnn_operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "kernels/bf16.h"
#include "tests/simt/simt.h"

namespace drover::simt {
namespace {

using Descriptor = CudnnDescriptor;

void require(bool condition, const std::string& what) {
  if (!condition) throw drover::simt::Failure("cuDNN's stand-in: " + what);
}

int64_t size_of(int64_t type) {
  switch (type) {
    case CUDNN_DATA_BFLOAT16: return 2;
    case CUDNN_DATA_INT64: return 8;
    default: return 4;
  }
}

// A batch's part of a tensor: [heads, rows, columns], as far as the batch has them.
struct Block {
  Four extent{1, 0, 0, 0};
  std::vector<float> values;
  float& at(int64_t h, int64_t i, int64_t j) { return values[static_cast<size_t>((h * extent[2] + i) * extent[3] + j)]; }
  // Dimensions of 1 are repeated; fewer heads are read by groups.
  float read(int64_t h, int64_t i, int64_t j, int64_t heads) const {
    const int64_t head = extent[1] == 1 ? 0 : h / (heads / extent[1]), row = extent[2] == 1 ? 0 : i,
                  column = extent[3] == 1 ? 0 : j;
    return values[static_cast<size_t>((head * extent[2] + row) * extent[3] + column)];
  }
};
Block block_of(int64_t heads, int64_t rows, int64_t columns) {
  return {{1, heads, rows, columns}, std::vector<float>(static_cast<size_t>(heads * rows * columns))};
}

class Batch {
 public:
  Batch(const Pointers& pointers, const std::map<int64_t, float>& constants, int64_t batch, int64_t length)
      : pointers_(pointers), constants_(constants), batch_(batch), length_(length) {}

  void run(const Descriptor& op) {
    switch (op.type) {
      case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: return matmul(op);
      case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: return pointwise(op);
      case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: return reduce(op);
      case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: return transpose(op);
      default: require(false, "an operation that it does not know");
    }
  }

 private:
  // The dimension along which a tensor with offsets has its tokens.
  static int sequence_dimension(const Descriptor& t) {
    const Four stride = t.four(CUDNN_ATTR_TENSOR_STRIDES), dim = t.four(CUDNN_ATTR_TENSOR_DIMENSIONS);
    return dim[3] != 1 && stride[3] != 1 ? 3 : 2;
  }

  std::byte* data(const Descriptor& t) const {
    const auto found = pointers_.find(t.number(CUDNN_ATTR_TENSOR_UNIQUE_ID));
    require(found != pointers_.end() && found->second != nullptr,
            "no pointer for tensor " + std::to_string(t.number(CUDNN_ATTR_TENSOR_UNIQUE_ID)));
    return found->second;
  }

  // Calls body(address, head, row, column) for all elements of the batch.
  void walk(const Descriptor& t, const std::function<void(std::byte*, int64_t, int64_t, int64_t)>& body, Four extent,
            int64_t multiplier) const {
    const Four stride = t.four(CUDNN_ATTR_TENSOR_STRIDES);
    const Descriptor* const offset = t.other(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC);
    int64_t begin = batch_ * stride[0];
    if (offset != nullptr) std::memcpy(&begin, data(*offset) + 8 * batch_, 8);
    if (offset != nullptr) begin *= multiplier;
    std::byte* const base = data(t);
    require(reinterpret_cast<uintptr_t>(base) % static_cast<uintptr_t>(t.number(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)) == 0 ||
                size_of(t.number(CUDNN_ATTR_TENSOR_DATA_TYPE)) != 2,
            "a pointer is not aligned as its descriptor says");
    const int64_t size = size_of(t.number(CUDNN_ATTR_TENSOR_DATA_TYPE));
    for (int64_t h = 0; h < extent[1]; ++h)
      for (int64_t i = 0; i < extent[2]; ++i)
        for (int64_t j = 0; j < extent[3]; ++j)
          body(base + (begin + h * stride[1] + i * stride[2] + j * stride[3]) * size, h, i, j);
  }

  // cuDNN multiplies the offsets of a gradient's full heads by the heads that it sums.
  int64_t multiplier(const Descriptor& t) const {
    const auto found = multipliers_.find(&t);
    return found == multipliers_.end() ? 1 : found->second;
  }

  Block get(const Descriptor& t) const {
    const auto found = between_.find(&t);
    if (found != between_.end()) return found->second;
    require(t.number(CUDNN_ATTR_TENSOR_IS_VIRTUAL) == 0, "a tensor is read before it is made");
    if (t.number(CUDNN_ATTR_TENSOR_IS_BY_VALUE) != 0) {
      Block block = block_of(1, 1, 1);
      block.values[0] = constants_.at(t.number(CUDNN_ATTR_TENSOR_UNIQUE_ID));
      return block;
    }
    Four extent = t.four(CUDNN_ATTR_TENSOR_DIMENSIONS);
    if (t.other(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC) != nullptr) extent[static_cast<size_t>(sequence_dimension(t))] = length_;
    Block block = block_of(extent[1], extent[2], extent[3]);
    const int64_t type = t.number(CUDNN_ATTR_TENSOR_DATA_TYPE);
    walk(
        t,
        [&](const std::byte* from, int64_t h, int64_t i, int64_t j) {
          if (type == CUDNN_DATA_BFLOAT16) {
            drover::Bf16 value;
            std::memcpy(&value, from, 2);
            block.at(h, i, j) = static_cast<float>(value);
          } else if (type == CUDNN_DATA_INT32) {
            int32_t value;
            std::memcpy(&value, from, 4);
            block.at(h, i, j) = static_cast<float>(value);
          } else {
            std::memcpy(&block.at(h, i, j), from, 4);
          }
        },
        block.extent, multiplier(t));
    return block;
  }

  void put(const Descriptor& t, Block block) {
    const bool narrow = t.number(CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16;
    if (narrow)
      for (float& value : block.values) value = static_cast<float>(drover::Bf16(value));
    if (t.number(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != 0) {
      between_[&t] = std::move(block);
      return;
    }
    walk(
        t,
        [&](std::byte* to, int64_t h, int64_t i, int64_t j) {
          const drover::Bf16 rounded(block.at(h, i, j));
          if (narrow)
            std::memcpy(to, &rounded, 2);
          else
            std::memcpy(to, &block.at(h, i, j), 4);
        },
        block.extent, multiplier(t));
  }

  void matmul(const Descriptor& op) {
    const Descriptor &a_is = *op.other(CUDNN_ATTR_OPERATION_MATMUL_ADESC), &c_is = *op.other(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    const Block a = get(a_is), b = get(*op.other(CUDNN_ATTR_OPERATION_MATMUL_BDESC));
    require(a.extent[3] == b.extent[2], "a product of matrices that do not fit");
    const int64_t heads = std::max(a.extent[1], b.extent[1]);
    Block c = block_of(heads, a.extent[2], b.extent[3]);
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < a.extent[2]; ++i)
        for (int64_t k = 0; k < a.extent[3]; ++k) {
          const float factor = a.read(h, i, k, heads);
          for (int64_t j = 0; factor != 0 && j < b.extent[3]; ++j) c.at(h, i, j) += factor * b.read(h, k, j, heads);
        }
    put(c_is, std::move(c));
  }

  static float value_of(int64_t mode, float x, float b, float t) {
    switch (mode) {
      case CUDNN_POINTWISE_ADD: return x + b;
      case CUDNN_POINTWISE_SUB: return x - b;
      case CUDNN_POINTWISE_MUL: return x * b;
      case CUDNN_POINTWISE_DIV: return x / b;
      case CUDNN_POINTWISE_EXP: return std::exp(x);
      case CUDNN_POINTWISE_LOG: return std::log(x);
      case CUDNN_POINTWISE_IDENTITY: return x;
      case CUDNN_POINTWISE_CMP_GE: return x >= b ? 1.0f : 0.0f;
      case CUDNN_POINTWISE_CMP_LT: return x < b ? 1.0f : 0.0f;
      case CUDNN_POINTWISE_LOGICAL_AND: return x != 0 && b != 0 ? 1.0f : 0.0f;
      case CUDNN_POINTWISE_BINARY_SELECT: return t != 0 ? x : b;
      default: throw drover::simt::Failure("cuDNN's stand-in: a pointwise mode that it does not know");
    }
  }

  void pointwise(const Descriptor& op) {
    const Descriptor& kind = *op.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Descriptor *const b_is = op.other(CUDNN_ATTR_OPERATION_POINTWISE_BDESC), *const t_is = op.other(
                                                                                       CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    const int64_t mode = kind.number(CUDNN_ATTR_POINTWISE_MODE);
    const Block x = get(*op.other(CUDNN_ATTR_OPERATION_POINTWISE_XDESC)), one = block_of(1, 1, 1);
    const Block b = b_is == nullptr ? one : get(*b_is), t = t_is == nullptr ? one : get(*t_is);
    Block y = block_of(x.extent[1], x.extent[2], x.extent[3]);
    const int64_t axis = mode == CUDNN_POINTWISE_GEN_INDEX ? kind.number(CUDNN_ATTR_POINTWISE_AXIS) : 0;
    for (int64_t h = 0; h < x.extent[1]; ++h)
      for (int64_t i = 0; i < x.extent[2]; ++i)
        for (int64_t j = 0; j < x.extent[3]; ++j)
          y.at(h, i, j) =
              axis != 0 ? static_cast<float>(axis == 2 ? i : j)
                        : value_of(mode, x.read(h, i, j, x.extent[1]), b.read(h, i, j, x.extent[1]), t.read(h, i, j, x.extent[1]));
    put(*op.other(CUDNN_ATTR_OPERATION_POINTWISE_YDESC), std::move(y));
  }

  void reduce(const Descriptor& op) {
    const Descriptor &x_is = *op.other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC),
                     &y_is = *op.other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    const bool maximum =
        op.other(CUDNN_ATTR_OPERATION_REDUCTION_DESC)->number(CUDNN_ATTR_REDUCTION_OPERATOR) == CUDNN_REDUCE_TENSOR_MAX;
    const Four dim = y_is.four(CUDNN_ATTR_TENSOR_DIMENSIONS);
    const Block x = get(x_is);
    Block y = block_of(dim[1], x.extent[2], dim[3] == 1 ? 1 : x.extent[3]);
    if (maximum) std::fill(y.values.begin(), y.values.end(), -std::numeric_limits<float>::infinity());
    for (int64_t h = 0; h < x.extent[1]; ++h)
      for (int64_t i = 0; i < x.extent[2]; ++i)
        for (int64_t j = 0; j < x.extent[3]; ++j) {
          float& to = y.at(h / (x.extent[1] / dim[1]), i, dim[3] == 1 ? 0 : j);
          const float value = x.read(h, i, j, x.extent[1]);
          to = maximum ? std::max(to, value) : to + value;
        }
    put(y_is, std::move(y));
  }

  void transpose(const Descriptor& op) {
    const Block x = get(*op.other(CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
    Block y = block_of(x.extent[1], x.extent[3], x.extent[2]);
    for (int64_t h = 0; h < x.extent[1]; ++h)
      for (int64_t i = 0; i < x.extent[2]; ++i)
        for (int64_t j = 0; j < x.extent[3]; ++j) y.at(h, j, i) = x.read(h, i, j, x.extent[1]);
    put(*op.other(CUDNN_ATTR_OPERATION_RESHAPE_YDESC), std::move(y));
  }

 public:
  void set_multiplier(const Descriptor& t, int64_t value) { multipliers_[&t] = value; }

 private:
  const Pointers& pointers_;
  const std::map<int64_t, float>& constants_;
  int64_t batch_, length_;
  std::map<const Descriptor*, Block> between_;
  std::map<const Descriptor*, int64_t> multipliers_;
};

}  // namespace

const std::vector<const Descriptor*>& operations_of(const Descriptor& graph) {
  return graph.others.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

int64_t bytes_of(const Descriptor& t) {
  const Four dim = t.four(CUDNN_ATTR_TENSOR_DIMENSIONS);
  return dim[0] * dim[1] * dim[2] * dim[3] * size_of(t.number(CUDNN_ATTR_TENSOR_DATA_TYPE));
}

void run_graph(const CudnnDescriptor& graph, const Pointers& pointers, const std::map<int64_t, float>& constants,
               std::byte* workspace, int64_t workspace_bytes) {
  const Descriptor *length = nullptr, *first = nullptr;
  std::map<const Descriptor*, int64_t> multipliers;
  for (const Descriptor* op : operations_of(graph)) {
    if (op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) {
      const Descriptor &x = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC), &y = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
      multipliers[&x] = x.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1] / y.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1];
    }
    if (op->type != CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) continue;
    if (first == nullptr) first = op;
    if (const Descriptor* m = op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC)) length = m;
  }
  const Four dim = first->other(CUDNN_ATTR_OPERATION_MATMUL_ADESC)->four(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const size_t asked = static_cast<size_t>(workspace_bytes);
  std::memset(workspace, 0xff, asked);
  for (int64_t b = 0; b < dim[0]; ++b) {
    int32_t tokens = static_cast<int32_t>(dim[2]);
    if (length != nullptr) std::memcpy(&tokens, pointers.at(length->number(CUDNN_ATTR_TENSOR_UNIQUE_ID)) + 4 * b, 4);
    require(tokens >= 0 && tokens <= dim[2], "a length of " + std::to_string(tokens));
    Batch batch(pointers, constants, b, tokens);
    for (const auto& [tensor, multiplier] : multipliers) batch.set_multiplier(*tensor, multiplier);
    for (const Descriptor* op : operations_of(graph))
      if (tokens > 0) batch.run(*op);
  }
  std::memset(workspace, 0xff, asked);
}

}  // namespace drover::simt
