// The operations of cuDNN's backend API on host memory (cudnn_operations.cpp), for the stand-in of the library (cudnn.cpp).
#pragma once
#include <cudnn_backend.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace drover::simt {

using Four = std::array<int64_t, 4>;

struct CudnnDescriptor {
  cudnnBackendDescriptorType_t type;
  bool final = false;
  std::map<cudnnBackendAttributeName_t, std::vector<int64_t>> numbers;  // enumerators too
  std::map<cudnnBackendAttributeName_t, std::vector<std::byte*>> pointers;
  std::map<cudnnBackendAttributeName_t, std::vector<const CudnnDescriptor*>> others;

  int64_t number(cudnnBackendAttributeName_t name) const { return numbers.at(name).at(0); }
  const CudnnDescriptor* other(cudnnBackendAttributeName_t name) const {
    const auto found = others.find(name);
    return found == others.end() ? nullptr : found->second.at(0);
  }
  Four four(cudnnBackendAttributeName_t name) const {
    Four values;
    std::copy_n(numbers.at(name).begin(), 4, values.begin());
    return values;
  }
};

using Pointers = std::map<int64_t, std::byte*>;  // by a tensor's id

const std::vector<const CudnnDescriptor*>& operations_of(const CudnnDescriptor& graph);
int64_t bytes_of(const CudnnDescriptor& tensor);

// Does a graph's operations one by one, for one batch after the other. Overwrites so many bytes of the workspace, before and after. Throws Failure.
void run_graph(const CudnnDescriptor& graph, const Pointers& pointers, const std::map<int64_t, float>& constants,
               std::byte* workspace, int64_t workspace_bytes);

}  // namespace drover::simt
