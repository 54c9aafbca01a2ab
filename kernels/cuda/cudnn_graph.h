// A graph of operations for cuDNN (its backend API), and the plan that one of its engines makes of it. Attributes and patterns: cuDNN's manual.
#pragma once
#include <cudnn_backend.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/ops.h"

namespace drover::cuda {

// What cuDNN refused, in its words.
struct CudnnRefusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class CudnnGraph {
 public:
  using Four = std::array<int64_t, 4>;
  using Descriptor = std::shared_ptr<void>;
  struct Tensor {
    Descriptor descriptor;
    Four dim, stride;  // stride in elements
  };
  // Rows and columns of a product beyond these are not there, for each batch: [batch, 1, 1, 1] i32.
  struct Lengths {
    const Tensor *m = nullptr, *n = nullptr, *k = nullptr;
  };

  // In memory: `id` names it to run(). With `offset`, batch b begins at element offset[b] instead of b stride[0].
  Tensor outside(int64_t id, cudnnDataType_t type, Four dim, Four stride, const Tensor* offset = nullptr);
  // Between operations: an engine need not write it anywhere.
  Tensor between(cudnnDataType_t type, Four dim);
  // An f32 that run() is given by a pointer to host memory.
  Tensor constant(int64_t id);

  // Results lie in memory where `to` is given; else they are between operations, f32 unless said.
  Tensor matmul(const Tensor& a, const Tensor& b, Lengths lengths, const Tensor* to = nullptr,
                cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Tensor apply(cudnnPointwiseMode_t mode, const Tensor& x, const Tensor* b = nullptr, const Tensor* to = nullptr,
               cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Tensor compare(cudnnPointwiseMode_t mode, const Tensor& x, const Tensor& b);                     // boolean
  Tensor both(const Tensor& a, const Tensor& b);                                                   // boolean
  Tensor index(const Tensor& like, int64_t axis);                                                  // i32
  Tensor select(const Tensor& x, const Tensor& otherwise, const Tensor& where);                    // x where it is true
  Tensor reduce(cudnnReduceTensorOp_t op, const Tensor& x, Four dim, const Tensor* to = nullptr);  // over what `dim` has less of
  Tensor transpose(const Tensor& x, cudnnDataType_t type, const Tensor* offset = nullptr);         // of the last two dimensions

 private:
  friend class CudnnPlan;
  Tensor tensor(int64_t id, cudnnDataType_t type, Four dim, Four stride, bool in_memory, bool by_value, const Tensor* offset);
  Tensor pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t math, const Tensor& x, const Tensor* b, const Tensor* t, Tensor y,
                   int64_t axis = -1);
  void add(Descriptor operation);

  std::vector<Descriptor> kept_, operations_;
  int64_t next_id_ = 1000;
};

class CudnnPlan {
 public:
  // The first engine that cuDNN's heuristics name and whose workspace is within the bound. Throws CudnnRefusal where there is none.
  CudnnPlan(cudnnHandle_t handle, CudnnGraph graph, int64_t workspace_bound);

  struct Argument {
    int64_t id;
    const void* data;
  };
  void run(cudnnHandle_t handle, StreamHandle stream, const std::vector<Argument>& arguments, std::byte* workspace) const;

  int64_t workspace_bytes() const { return workspace_; }
  int64_t engine() const { return engine_; }

 private:
  CudnnGraph graph_;  // the plan refers to its descriptors
  CudnnGraph::Descriptor plan_;
  int64_t workspace_ = 0, engine_ = -1;
};

}  // namespace drover::cuda
