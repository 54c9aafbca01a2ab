// The functions of cuDNN's backend API that Drover calls. It knows nothing of attention: a plan does its operations one by one, in f32 on host
// memory, with the shapes, strides, offsets and lengths that the descriptors say. The workspace that it asks for is overwritten.
#include <cstring>
#include <string>

#include "tests/simt/cudnn_operations.h"
#include "tests/simt/streams.h"

namespace {

using Descriptor = drover::simt::CudnnDescriptor;
using drover::simt::bytes_of;
using drover::simt::Four;
using drover::simt::operations_of;
using drover::simt::Pointers;

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
// All that attention's plan allows an engine (kernels/cuda/attention_scratch.h), which is about what those for an H100 ask for: full heads that are
// nowhere else, and the matrix of ds where no f32 sums are in memory.
int64_t workspace_of(const Descriptor& graph) {
  constexpr int64_t kSmall = int64_t{1} << 20, kOfALength = 1024, kTile = 128;
  int64_t bytes = kSmall, pairs = 0, matmuls = 0;
  bool sums = false;
  for (const Descriptor* op : operations_of(graph)) {
    if (op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) {
      const Descriptor &x = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC), &y = *op->other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
      const bool heads = x.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1] != y.four(CUDNN_ATTR_TENSOR_DIMENSIONS)[1];
      if (heads && x.number(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != 0) bytes += bytes_of(x);
    }
    if (op->type != CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) continue;
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
    if (op->type != CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) continue;
    if (products++ == 0) head_dim = op->other(CUDNN_ATTR_OPERATION_MATMUL_ADESC)->four(CUDNN_ATTR_TENSOR_DIMENSIONS)[3];
    const bool n = op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC) != nullptr;
    const bool k = op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC) != nullptr;
    with_length += op->other(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC) != nullptr && n != k;
  }
  return head_dim % 8 == 0 && (with_length == 0 || with_length == products);
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
  *descriptor = new Descriptor{.type = type, .numbers = {}, .pointers = {}, .others = {}};
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
      case CUDNN_TYPE_VOID_PTR:
      case CUDNN_TYPE_HANDLE: d.pointers[name].push_back(static_cast<std::byte* const*>(values)[i]); break;
      case CUDNN_TYPE_INT64: d.numbers[name].push_back(static_cast<const int64_t*>(values)[i]); break;
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
  const std::vector<int64_t>& ids = pack.numbers.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const std::vector<std::byte*>& data = pack.pointers.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  Pointers pointers;
  for (size_t i = 0; i < ids.size(); ++i) pointers[ids[i]] = data[i];
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
  std::byte* const workspace = pack.pointers.at(CUDNN_ATTR_VARIANT_PACK_WORKSPACE).at(0);
  drover::simt::count_launch(reinterpret_cast<Handle*>(handle)->stream);
  drover::simt::enqueue(reinterpret_cast<Handle*>(handle)->stream, [&graph, pointers, constants, workspace] {
    drover::simt::run_graph(graph, pointers, constants, workspace, workspace_of(graph));
    return true;
  });
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
