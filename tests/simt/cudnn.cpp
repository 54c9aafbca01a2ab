// The functions of cuDNN's backend API that Drover calls. It knows nothing of attention: a plan does its operations one by one, in f32 on host
// memory, for one batch after the other, with the shapes, strides, offsets and lengths that the descriptors say. The workspace that it asks for
// is overwritten.
#include <cudnn_backend.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "kernels/bf16.h"
#include "tests/simt/simt.h"
#include "tests/simt/streams.h"

namespace {

using Four = std::array<int64_t, 4>;

struct Descriptor {
  cudnnBackendDescriptorType_t type;
  bool final = false;
  std::map<cudnnBackendAttributeName_t, std::vector<int64_t>> numbers;  // enumerators and pointers too
  std::map<cudnnBackendAttributeName_t, std::vector<const Descriptor*>> others;

  int64_t number(cudnnBackendAttributeName_t name) const { return numbers.at(name).at(0); }
  const Descriptor* other(cudnnBackendAttributeName_t name) const {
    const auto found = others.find(name);
    return found == others.end() ? nullptr : found->second.at(0);
  }
  Four four(cudnnBackendAttributeName_t name) const {
    Four values;
    std::copy_n(numbers.at(name).begin(), 4, values.begin());
    return values;
  }
};

struct Handle {
  cudaStream_t stream = nullptr;
};

std::string& last_error() {
  static std::string text;
  return text;
}
cudnnStatus_t refuse(cudnnStatus_t status, const std::string& why) {
  last_error() = why;
  return status;
}
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

using Pointers = std::map<int64_t, std::byte*>;

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

const std::vector<const Descriptor*>& operations_of(const Descriptor& graph) {
  return graph.others.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

bool is(const Descriptor* operation, cudnnBackendDescriptorType_t type) { return operation->type == type; }

int64_t bytes_of(const Descriptor& t) {
  const Four dim = t.four(CUDNN_ATTR_TENSOR_DIMENSIONS);
  return dim[0] * dim[1] * dim[2] * dim[3] * size_of(t.number(CUDNN_ATTR_TENSOR_DATA_TYPE));
}

// All that attention's plan allows an engine (kernels/cuda/attention_scratch.h), which is about what those for an H100 ask for: full heads that are
// nowhere else, and the matrix of ds where no f32 sums are in memory.
int64_t workspace_of(const Descriptor& graph) {
  constexpr int64_t kSmall = int64_t{1} << 20, kOfALength = 1024, kTile = 128;
  int64_t bytes = kSmall, pairs = 0, matmuls = 0;
  bool sums = false;
  for (const Descriptor* op : operations_of(graph)) {
    if (is(op, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)) {
      const Descriptor &x = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC), &y = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
      const bool heads = x.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1] != y.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1];
      if (heads && x.number(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != 0) bytes += bytes_of(x);
    }
    if (!is(op, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)) continue;
    const Descriptor& c = *op->other(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    const Four dim = c.four(CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t side = (dim[2] + kTile - 1) / kTile * kTile;
    if (matmuls++ == 0) pairs = 2 * dim[0] * dim[1] * side * side;
    if (matmuls == 1 && op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC) != nullptr) bytes += dim[0] * kOfALength;
    sums = sums || (c.number(CUDNN_ATTR_TENSOR_IS_VIRTUAL) == 0 && c.number(CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_FLOAT);
  }
  return bytes + (matmuls > 2 && !sums ? pairs : 0);
}

// Heads of multiples of 8, and lengths for all products or none.
bool supported(const Descriptor& graph) {
  int64_t products = 0, with_length = 0, head_dim = 0;
  for (const Descriptor* op : operations_of(graph)) {
    if (!is(op, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)) continue;
    if (products++ == 0) head_dim = op->other(CUDNN_ATTR_OPERATION_MATMUL_ADESC)->four(CUDNN_ATTR_TENSOR_DIMENSIONS)[3];
    const bool n = op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC) != nullptr;
    const bool k = op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC) != nullptr;
    with_length += op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC) != nullptr && n != k;
  }
  return head_dim % 8 == 0 && (with_length == 0 || with_length == products);
}

void execute(const Descriptor& graph, const Pointers& pointers, const std::map<int64_t, float>& constants, std::byte* workspace) {
  const Descriptor *length = nullptr, *first = nullptr;
  std::map<const Descriptor*, int64_t> multipliers;
  for (const Descriptor* op : operations_of(graph)) {
    if (is(op, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)) {
      const Descriptor &x = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC), &y = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
      multipliers[&x] = x.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1] / y.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1];
    }
    if (!is(op, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)) continue;
    if (first == nullptr) first = op;
    if (const Descriptor* m = op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC)) length = m;
  }
  const Four dim = first->other(CUDNN_ATTR_OPERATION_MATMUL_ADESC)->four(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const size_t asked = static_cast<size_t>(workspace_of(graph));
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

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return 91900; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_NOT_SUPPORTED ? "CUDNN_STATUS_NOT_SUPPORTED" : "CUDNN_STATUS_BAD_PARAM";
}
void cudnnGetLastErrorString(char* text, size_t size) { last_error().copy(text, size - 1); }
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = reinterpret_cast<cudnnHandle_t>(new Handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  reinterpret_cast<Handle*>(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  *descriptor = new Descriptor{.type = type, .numbers = {}, .others = {}};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<Descriptor*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  Descriptor& d = *static_cast<Descriptor*>(descriptor);
  for (const auto& [name, others] : d.others)
    for (const Descriptor* other : others)
      if (!other->final) return refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor that refers to one that is not final");
  d.final = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  Descriptor& d = *static_cast<Descriptor*>(descriptor);
  if (d.final) return refuse(CUDNN_STATUS_BAD_PARAM, "an attribute of a final descriptor");
  for (int64_t i = 0; i < count; ++i) switch (type) {
      case CUDNN_TYPE_BACKEND_DESCRIPTOR: d.others[name].push_back(static_cast<const Descriptor* const*>(values)[i]); break;
      case CUDNN_TYPE_BOOLEAN: d.numbers[name].push_back(static_cast<const bool*>(values)[i] ? 1 : 0); break;
      case CUDNN_TYPE_INT64:
      case CUDNN_TYPE_VOID_PTR:
      case CUDNN_TYPE_HANDLE: d.numbers[name].push_back(static_cast<const int64_t*>(values)[i]); break;
      default: d.numbers[name].push_back(static_cast<const int32_t*>(values)[i]);  // enumerators
    }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t, int64_t* count, void* values) {
  const Descriptor& d = *static_cast<const Descriptor*>(descriptor);
  *count = 1;
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
      const Descriptor& graph = *d.other(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
      *count = supported(graph) ? 1 : 0;
      Descriptor& configuration = **static_cast<Descriptor**>(values);
      configuration.others[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = {&graph};
      configuration.final = true;
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      *static_cast<int64_t*>(values) =
          workspace_of(*d.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH));
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_ENGINE: return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: *static_cast<int64_t*>(values) = 0; return CUDNN_STATUS_SUCCESS;
    default: return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an attribute that the stand-in does not know");
  }
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t arguments) {
  const Descriptor &p = *static_cast<const Descriptor*>(plan), &pack = *static_cast<const Descriptor*>(arguments);
  if (!p.final || !pack.final) return refuse(CUDNN_STATUS_BAD_PARAM, "a plan or arguments that are not final");
  const Descriptor& graph = *p.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
  const auto &ids = pack.numbers.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS),
             &data = pack.numbers.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  Pointers pointers;
  for (size_t i = 0; i < ids.size(); ++i) pointers[ids[i]] = reinterpret_cast<std::byte*>(data[i]);
  // What is given by value is read now.
  std::map<int64_t, float> constants;
  for (const Descriptor* op : operations_of(graph))
    for (const auto& [name, tensors] : op->others)
      for (const Descriptor* t : tensors)
        if (t->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && t->number(CUDNN_ATTR_TENSOR_IS_BY_VALUE) != 0) {
          const int64_t id = t->number(CUDNN_ATTR_TENSOR_UNIQUE_ID);
          if (!pointers.contains(id)) return refuse(CUDNN_STATUS_BAD_PARAM, "no pointer for tensor " + std::to_string(id));
          std::memcpy(&constants[id], pointers[id], sizeof(float));
        }
  std::byte* const workspace = reinterpret_cast<std::byte*>(pack.number(CUDNN_ATTR_VARIANT_PACK_WORKSPACE));
  drover::simt::enqueue(reinterpret_cast<Handle*>(handle)->stream, [&graph, pointers, constants, workspace] {
    execute(graph, pointers, constants, workspace);
    return true;
  });
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
