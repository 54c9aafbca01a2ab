// cuBLASLt's functions, looked up when they are first called: linking the library would cost every start of the program, on cpu ranks too,
// half a second and hundreds of megabytes.
#include <cublasLt.h>

#include "kernels/cuda/lazy_library.h"

DROVER_LAZY_LIBRARY("libcublasLt.so", CUBLAS_VER_MAJOR, "cuBLASLt, of the CUDA toolkit")

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { DROVER_CALL(cublasLtCreate, handle); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { DROVER_CALL(cublasLtDestroy, handle); }
size_t cublasLtGetVersion() { DROVER_CALL(cublasLtGetVersion); }
const char* cublasLtGetStatusString(cublasStatus_t status) { DROVER_CALL(cublasLtGetStatusString, status); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute, cudaDataType_t scale) {
  DROVER_CALL(cublasLtMatmulDescCreate, description, compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) { DROVER_CALL(cublasLtMatmulDescDestroy, description); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
  DROVER_CALL(cublasLtMatmulDescSetAttribute, description, attribute, value, size);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t stride) {
  DROVER_CALL(cublasLtMatrixLayoutCreate, layout, type, rows, columns, stride);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { DROVER_CALL(cublasLtMatrixLayoutDestroy, layout); }

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  DROVER_CALL(cublasLtMatmulPreferenceCreate, preference);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  DROVER_CALL(cublasLtMatmulPreferenceDestroy, preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t size) {
  DROVER_CALL(cublasLtMatmulPreferenceSetAttribute, preference, attribute, value, size);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  DROVER_CALL(cublasLtMatmulAlgoGetHeuristic, handle, description, a, b, c, d, preference, wanted, results, found);
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
  DROVER_CALL(cublasLtMatmulAlgoCheck, handle, description, a, b, c, d, algorithm, result);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  DROVER_CALL(cublasLtMatmul, handle, description, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algorithm,
              workspace, workspace_bytes, stream);
}

}  // extern "C"
