// The functions of cuBLASLt that Drover calls, by plain loops over what their arguments describe.
#include <cublasLt.h>

#include <cstring>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cpu/gemm.h"
#include "tests/simt/streams.h"

namespace {

struct Description {
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
};
struct Layout {
  cudaDataType_t type;
  int64_t rows, columns, stride;  // column by column
};

const Layout& of(cublasLtMatrixLayout_t layout) { return *reinterpret_cast<const Layout*>(layout); }

// The same memory as a row-major matrix.
template <class View, class Data> View view_of(Data* data, cublasLtMatrixLayout_t layout) {
  const Layout& l = of(layout);
  return {data, l.type == CUDA_R_16BF ? drover::DType::bf16 : drover::DType::f32, {}, {l.columns, l.rows}};
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new char);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<char*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 0; }
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS_NOT_SUPPORTED";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute, cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *description = reinterpret_cast<cublasLtMatmulDesc_t>(new Description);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete reinterpret_cast<Description*>(description);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
  Description& d = *reinterpret_cast<Description*>(description);
  if (size != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA && attribute != CUBLASLT_MATMUL_DESC_TRANSB) return CUBLAS_STATUS_NOT_SUPPORTED;
  std::memcpy(attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &d.a : &d.b, value, size);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t stride) {
  if ((type != CUDA_R_16BF && type != CUDA_R_32F) || stride != static_cast<int64_t>(rows)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *layout =
      reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new char);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<char*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  results[0] = {};
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t stream) {
  const Description& asked = *reinterpret_cast<const Description*>(description);
  const bool ta = asked.a == CUBLAS_OP_T, tb = asked.b == CUBLAS_OP_T;
  const Layout &left = of(a_layout), &right = of(b_layout), &result = of(d_layout);
  const int64_t m = ta ? left.columns : left.rows, k = ta ? left.rows : left.columns, n = tb ? right.rows : right.columns;
  if (*static_cast<const float*>(alpha) != 1 || c != d || m != result.rows || n != result.columns ||
      k != (tb ? right.columns : right.rows) || left.type != right.type)
    return CUBLAS_STATUS_INVALID_VALUE;
  // d = op(a) op(b) column by column is d^T = op(b)^T op(a)^T row by row.
  const auto product = view_of<drover::TensorView>(static_cast<std::byte*>(d), d_layout);
  const auto first = view_of<drover::ConstTensorView>(static_cast<const std::byte*>(b), b_layout);
  const auto second = view_of<drover::ConstTensorView>(static_cast<const std::byte*>(a), a_layout);
  drover::simt::count_launch(stream);
  drover::simt::enqueue(stream, [=, beta = *static_cast<const float*>(beta)] {
    drover::cpu::gemm_plain(product, first, tb, second, ta, beta);
    return true;
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
