#include "kernels/cuda/cudnn_graph.h"

#include <algorithm>
#include <utility>

namespace drover::cuda {
namespace {

using Descriptor = CudnnGraph::Descriptor;
using Four = CudnnGraph::Four;

void require(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> reason{};
  cudnnGetLastErrorString(reason.data(), reason.size());
  throw CudnnRefusal(std::string(what) + ": " + cudnnGetErrorString(status) +
                     (reason[0] == 0 ? "" : std::string(", ") + reason.data()));
}

Descriptor create(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t descriptor = nullptr;
  require(cudnnBackendCreateDescriptor(type, &descriptor), "a descriptor");
  return {descriptor, [](void* it) { cudnnBackendDestroyDescriptor(it); }};
}

constexpr cudnnBackendAttributeType_t type_of(int64_t) { return CUDNN_TYPE_INT64; }
constexpr cudnnBackendAttributeType_t type_of(bool) { return CUDNN_TYPE_BOOLEAN; }
constexpr cudnnBackendAttributeType_t type_of(cudnnDataType_t) { return CUDNN_TYPE_DATA_TYPE; }
constexpr cudnnBackendAttributeType_t type_of(cudnnPointwiseMode_t) { return CUDNN_TYPE_POINTWISE_MODE; }
constexpr cudnnBackendAttributeType_t type_of(cudnnReduceTensorOp_t) { return CUDNN_TYPE_REDUCTION_OPERATOR_TYPE; }
constexpr cudnnBackendAttributeType_t type_of(cudnnBackendHeurMode_t) { return CUDNN_TYPE_HEUR_MODE; }
constexpr cudnnBackendAttributeType_t type_of(cudnnHandle_t) { return CUDNN_TYPE_HANDLE; }
constexpr cudnnBackendAttributeType_t type_of(void*) { return CUDNN_TYPE_VOID_PTR; }

template <class Value> void set(const Descriptor& of, cudnnBackendAttributeName_t name, const Value& value) {
  require(cudnnBackendSetAttribute(of.get(), name, type_of(value), 1, &value), "an attribute");
}
void set(const Descriptor& of, cudnnBackendAttributeName_t name, const Four& values) {
  require(cudnnBackendSetAttribute(of.get(), name, CUDNN_TYPE_INT64, 4, values.data()), "a shape");
}
void set(const Descriptor& of, cudnnBackendAttributeName_t name, const Descriptor& value) {
  cudnnBackendDescriptor_t raw = value.get();
  require(cudnnBackendSetAttribute(of.get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw), "an attribute");
}

Descriptor finalized(Descriptor descriptor, const char* what) {
  require(cudnnBackendFinalize(descriptor.get()), what);
  return descriptor;
}

int64_t number(const Descriptor& of, cudnnBackendAttributeName_t name) {
  int64_t value = 0, count = 0;
  require(cudnnBackendGetAttribute(of.get(), name, CUDNN_TYPE_INT64, 1, &count, &value), "a plan's attribute");
  return value;
}

int64_t engine_of(const Descriptor& configuration) {
  const Descriptor engine = create(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.get();
  int64_t count = 0;
  require(
      cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw),
      "the engine");
  return number(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
}

Four packed(const Four& dim) { return {dim[1] * dim[2] * dim[3], dim[2] * dim[3], dim[3], 1}; }

}  // namespace

CudnnGraph::Tensor CudnnGraph::tensor(int64_t id, cudnnDataType_t type, Four dim, Four stride, bool in_memory, bool by_value,
                                      const Tensor* offset) {
  Descriptor it = create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  set(it, CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  set(it, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  set(it, CUDNN_ATTR_TENSOR_DIMENSIONS, dim);
  set(it, CUDNN_ATTR_TENSOR_STRIDES, stride);
  set(it, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{16});
  set(it, CUDNN_ATTR_TENSOR_IS_VIRTUAL, !in_memory);
  set(it, CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value);
  if (offset != nullptr) set(it, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, offset->descriptor);
  kept_.push_back(finalized(it, "a tensor"));
  return {it, dim, stride};
}

CudnnGraph::Tensor CudnnGraph::outside(int64_t id, cudnnDataType_t type, Four dim, Four stride, const Tensor* offset) {
  return tensor(id, type, dim, stride, true, false, offset);
}
CudnnGraph::Tensor CudnnGraph::constant(int64_t id) {
  return tensor(id, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}, true, true, nullptr);
}
CudnnGraph::Tensor CudnnGraph::between(cudnnDataType_t type, Four dim) {
  return tensor(next_id_++, type, dim, packed(dim), false, false, nullptr);
}

void CudnnGraph::add(Descriptor operation) { operations_.push_back(finalized(std::move(operation), "an operation")); }

CudnnGraph::Tensor CudnnGraph::matmul(const Tensor& a, const Tensor& b, Lengths lengths, const Tensor* to, cudnnDataType_t type) {
  Tensor c = to != nullptr ? *to : between(type, {a.dim[0], a.dim[1], a.dim[2], b.dim[3]});
  const Descriptor kind = create(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  set(kind, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  kept_.push_back(finalized(kind, "a product"));
  Descriptor operation = create(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  set(operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor);
  set(operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor);
  set(operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor);
  set(operation, CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
  if (lengths.m != nullptr) set(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, lengths.m->descriptor);
  if (lengths.n != nullptr) set(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, lengths.n->descriptor);
  if (lengths.k != nullptr) set(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, lengths.k->descriptor);
  add(std::move(operation));
  return c;
}

CudnnGraph::Tensor CudnnGraph::pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t math, const Tensor& x, const Tensor* b,
                                         const Tensor* t, Tensor y, int64_t axis) {
  const Descriptor kind = create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  set(kind, CUDNN_ATTR_POINTWISE_MODE, mode);
  set(kind, CUDNN_ATTR_POINTWISE_MATH_PREC, math);
  if (axis >= 0) set(kind, CUDNN_ATTR_POINTWISE_AXIS, axis);
  kept_.push_back(finalized(kind, "a pointwise operation"));
  Descriptor operation = create(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  set(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
  set(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor);
  if (b != nullptr) set(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b->descriptor);
  if (t != nullptr) set(operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t->descriptor);
  set(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
  add(std::move(operation));
  return y;
}

CudnnGraph::Tensor CudnnGraph::apply(cudnnPointwiseMode_t mode, const Tensor& x, const Tensor* b, const Tensor* to,
                                     cudnnDataType_t type) {
  return pointwise(mode, CUDNN_DATA_FLOAT, x, b, nullptr, to != nullptr ? *to : between(type, x.dim));
}
CudnnGraph::Tensor CudnnGraph::compare(cudnnPointwiseMode_t mode, const Tensor& x, const Tensor& b) {
  return pointwise(mode, CUDNN_DATA_BOOLEAN, x, &b, nullptr, between(CUDNN_DATA_BOOLEAN, x.dim));
}
CudnnGraph::Tensor CudnnGraph::both(const Tensor& a, const Tensor& b) {
  return pointwise(CUDNN_POINTWISE_LOGICAL_AND, CUDNN_DATA_BOOLEAN, a, &b, nullptr, between(CUDNN_DATA_BOOLEAN, a.dim));
}
CudnnGraph::Tensor CudnnGraph::index(const Tensor& like, int64_t axis) {
  return pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, like, nullptr, nullptr, between(CUDNN_DATA_INT32, like.dim), axis);
}
CudnnGraph::Tensor CudnnGraph::select(const Tensor& x, const Tensor& otherwise, const Tensor& where) {
  return pointwise(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, x, &otherwise, &where, between(CUDNN_DATA_FLOAT, x.dim));
}

CudnnGraph::Tensor CudnnGraph::reduce(cudnnReduceTensorOp_t op, const Tensor& x, Four dim, const Tensor* to) {
  Tensor y = to != nullptr ? *to : between(CUDNN_DATA_FLOAT, dim);
  const Descriptor kind = create(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  set(kind, CUDNN_ATTR_REDUCTION_OPERATOR, op);
  set(kind, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  kept_.push_back(finalized(kind, "a reduction"));
  Descriptor operation = create(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  set(operation, CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
  set(operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor);
  set(operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor);
  add(std::move(operation));
  return y;
}

CudnnGraph::Tensor CudnnGraph::transpose(const Tensor& x, cudnnDataType_t type, const Tensor* offset) {
  Tensor y = tensor(next_id_++, type, {x.dim[0], x.dim[1], x.dim[3], x.dim[2]},
                    {x.stride[0], x.stride[1], x.stride[3], x.stride[2]}, false, false, offset);
  Descriptor operation = create(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  set(operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor);
  set(operation, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor);
  add(std::move(operation));
  return y;
}

CudnnPlan::CudnnPlan(cudnnHandle_t handle, CudnnGraph graph, int64_t workspace_bound) : graph_(std::move(graph)) {
  const Descriptor operations = create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& operation : graph_.operations_) raw.push_back(operation.get());
  require(cudnnBackendSetAttribute(operations.get(), CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                   static_cast<int64_t>(raw.size()), raw.data()),
          "the operations");
  set(operations, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle);
  graph_.kept_.push_back(finalized(operations, "the graph"));

  const Descriptor heuristics = create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  set(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations);
  set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  finalized(heuristics, "the heuristics");
  constexpr int64_t kMostEngines = 8;
  std::vector<Descriptor> engines;
  std::vector<cudnnBackendDescriptor_t> found;
  for (int64_t i = 0; i < kMostEngines; ++i)
    found.push_back(engines.emplace_back(create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)).get());
  int64_t count = 0;
  require(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostEngines,
                                   &count, found.data()),
          "the engines");
  std::string refusals;
  for (int64_t i = 0; i < std::min(count, kMostEngines) && plan_ == nullptr; ++i) try {
      Descriptor plan = create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      set(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engines[static_cast<size_t>(i)]);
      set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle);
      finalized(plan, "a plan");
      workspace_ = number(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      engine_ = engine_of(engines[static_cast<size_t>(i)]);
      if (workspace_ > workspace_bound)
        throw CudnnRefusal("an engine wants " + std::to_string(workspace_) + " bytes of workspace, above the planned " +
                           std::to_string(workspace_bound));
      graph_.kept_.push_back(engines[static_cast<size_t>(i)]);
      plan_ = plan;
    } catch (const CudnnRefusal& refusal) {
      refusals += (refusals.empty() ? "" : "; ") + std::string(refusal.what());
    }
  if (plan_ == nullptr) throw CudnnRefusal(refusals.empty() ? "no engine" : refusals);
}

void CudnnPlan::run(cudnnHandle_t handle, StreamHandle stream, const std::vector<Argument>& arguments, std::byte* workspace) const {
  std::vector<int64_t> ids;
  std::vector<void*> pointers;
  for (const Argument& argument : arguments) {
    ids.push_back(argument.id);
    pointers.push_back(const_cast<void*>(argument.data));
  }
  const int64_t count = static_cast<int64_t>(ids.size());
  const Descriptor pack = create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  require(cudnnBackendSetAttribute(pack.get(), CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers.data()),
          "the pointers");
  require(cudnnBackendSetAttribute(pack.get(), CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data()), "the ids");
  set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, static_cast<void*>(workspace));
  finalized(pack, "the arguments");
  require(cudnnSetStream(handle, stream), "the stream");
  require(cudnnBackendExecute(handle, plan_.get(), pack.get()), "the launch");
}

}  // namespace drover::cuda
