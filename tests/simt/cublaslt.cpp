// The functions of cuBLASLt that Drover calls, by plain loops over what their arguments describe. Its algorithms differ in the order in which they
// add, and so in the last bits; what time they take is drawn for each product, algorithm, rank and DROVER_SIMT_SPEEDS (a number).
// DROVER_SIMT_CUBLASLT is its version (0), DROVER_SIMT_ALGORITHMS how many there are (all); with DROVER_SIMT_UNTIMED it says on stderr for which
// products one proposal was enough.
#include <cublasLt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/base/hash.h"
#include "kernels/bf16.h"
#include "kernels/cpu/gemm.h"
#include "tests/simt/streams.h"

namespace {

struct Description {
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;

  // As the library, whose kernels may read 16 bytes of a bias at a time.
  bool is_supported() const {
    if (epilogue == CUBLASLT_EPILOGUE_DEFAULT) return true;
    return epilogue == CUBLASLT_EPILOGUE_BIAS && bias != nullptr && reinterpret_cast<uintptr_t>(bias) % 16 == 0;
  }
};
struct Layout {
  cudaDataType_t type;
  int64_t rows, columns, stride;  // column by column
};

const Layout& of(cublasLtMatrixLayout_t layout) { return *reinterpret_cast<const Layout*>(layout); }
const Description& of(cublasLtMatmulDesc_t description) { return *reinterpret_cast<const Description*>(description); }

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

enum Algorithm : uint64_t { whole, broken, halves, thirds, thirds_in_place, algorithms };
constexpr uint64_t kSalt = 0x5eed;  // of the second word, by which an algorithm is known for one of these

cublasLtMatmulAlgo_t describe(uint64_t algorithm) { return {{algorithm, algorithm ^ kSalt}}; }
bool is_known(const cublasLtMatmulAlgo_t& described) {
  const uint64_t algorithm = described.data[0];
  return algorithm < std::min<uint64_t>(algorithms, number_from("DROVER_SIMT_ALGORITHMS", algorithms)) &&
         described.data[1] == (algorithm ^ kSalt) &&
         std::all_of(described.data + 2, described.data + 8, [](uint64_t word) { return word == 0; });
}

double milliseconds_of(uint64_t algorithm, const drover::Shape& product, int64_t k) {
  if (algorithm == broken) return 0;
  const uint64_t drawn_by[] = {
      number_from("DROVER_SIMT_SPEEDS", 0), number_from("OMPI_COMM_WORLD_RANK", 0), algorithm,
      static_cast<uint64_t>(product[0]),    static_cast<uint64_t>(product[1]),      static_cast<uint64_t>(k)};
  return algorithm == thirds_in_place ? 0.5  // what may not be used would always be the fastest
                                      : 1 + static_cast<double>(drover::xxh3(drawn_by, sizeof drawn_by) % 1000) / 100;
}

// Row by row, as f32; transposed where asked.
std::vector<float> elements(const drover::ConstTensorView& matrix, bool transposed) {
  const int64_t rows = matrix.shape[transposed ? 1 : 0], columns = matrix.shape[transposed ? 0 : 1];
  std::vector<float> all(static_cast<size_t>(rows * columns));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t at = transposed ? column * rows + row : row * columns + column;
      all[static_cast<size_t>(row * columns + column)] =
          matrix.dtype == drover::DType::f32 ? matrix.as<float>()[at] : static_cast<float>(matrix.as<drover::Bf16>()[at]);
    }
  return all;
}

// Each element's terms are added in so many parts, and these to each other: the last one first when `backwards`. A bias, if there is one, is
// [columns] of c's type.
void multiply_in_parts(const drover::TensorView& c, const drover::ConstTensorView& a, bool ta, const drover::ConstTensorView& b,
                       bool tb, float beta, int64_t parts, bool backwards, const drover::ConstTensorView& bias) {
  const int64_t k = a.shape[ta ? 0 : 1], columns = c.shape[1];
  const std::vector<float> left = elements(a, ta), right = elements(b, tb);
  std::vector<float> sums = beta == 0 ? std::vector<float>(static_cast<size_t>(c.count())) : elements(c, false);
  std::vector<float> of_part(static_cast<size_t>(columns));
  for (int64_t i = 0; i < c.shape[0]; ++i)
    for (int64_t each = 0; each < parts; ++each) {
      const int64_t part = backwards ? parts - 1 - each : each;
      std::fill(of_part.begin(), of_part.end(), 0.0f);
      for (int64_t l = part * k / parts; l < (part + 1) * k / parts;
           ++l) {  // of a whole row at once: the order of an element's terms
        const float factor = left[static_cast<size_t>(i * k + l)];
        const float* row = right.data() + l * columns;
        for (size_t j = 0; j < of_part.size(); ++j) of_part[j] += factor * row[j];
      }
      for (size_t j = 0; j < of_part.size(); ++j) sums[static_cast<size_t>(i * columns) + j] += of_part[j];
    }
  if (!bias.empty()) {
    const std::vector<float> offsets = elements(bias.reshape({1, columns}), false);
    for (size_t at = 0; at < sums.size(); ++at) sums[at] += offsets[at % offsets.size()];
  }
  for (int64_t at = 0; at < c.count(); ++at)
    if (c.dtype == drover::DType::f32)
      c.as<float>()[at] = sums[static_cast<size_t>(at)];
    else
      c.as<drover::Bf16>()[at] = drover::Bf16(sums[static_cast<size_t>(at)]);
}

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
size_t cublasLtGetVersion() { return number_from("DROVER_SIMT_CUBLASLT", 0); }
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
  const auto set = [&](auto& member) {
    if (size != sizeof member) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&member, value, size);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(d.a);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(d.b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(d.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(d.bias);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
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
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new uint32_t(CUBLASLT_REDUCTION_SCHEME_MASK));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<uint32_t*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value, size_t) {
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) std::memcpy(preference, value, sizeof(uint32_t));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  if (!of(description).is_supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  const uint32_t reductions = *reinterpret_cast<const uint32_t*>(preference);
  if (wanted == 1 && std::getenv("DROVER_SIMT_UNTIMED") != nullptr)
    std::fprintf(stderr, "untimed product of %lld rows\n", static_cast<long long>(of(d).columns));
  *found = 0;
  for (uint64_t algorithm = 0; algorithm < algorithms && *found < wanted; ++algorithm) {
    const bool reduces = algorithm == halves || algorithm == thirds, in_place = algorithm == thirds_in_place;
    if (reduces && (reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) == 0) continue;
    if (in_place && (reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE) == 0) continue;
    if (is_known(describe(algorithm))) results[(*found)++] = {.algo = describe(algorithm), .state = CUBLAS_STATUS_SUCCESS};
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
  *result = {};
  return is_known(*algorithm) && of(description).is_supported() ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* described, void*, size_t, cudaStream_t stream) {
  const Description asked = of(description);
  if (!asked.is_supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool ta = asked.a == CUBLAS_OP_T, tb = asked.b == CUBLAS_OP_T;
  const Layout &left = of(a_layout), &right = of(b_layout), &result = of(d_layout);
  const int64_t m = ta ? left.columns : left.rows, k = ta ? left.rows : left.columns, n = tb ? right.rows : right.columns;
  if (*static_cast<const float*>(alpha) != 1 || c != d || m != result.rows || n != result.columns ||
      k != (tb ? right.columns : right.rows) || left.type != right.type || !is_known(*described))
    return CUBLAS_STATUS_INVALID_VALUE;
  const uint64_t algorithm = described->data[0];
  if (algorithm == broken) return CUBLAS_STATUS_NOT_SUPPORTED;
  // d = op(a) op(b) column by column is d^T = op(b)^T op(a)^T row by row.
  const auto product = view_of<drover::TensorView>(static_cast<std::byte*>(d), d_layout);
  const auto first = view_of<drover::ConstTensorView>(static_cast<const std::byte*>(b), b_layout);
  const auto second = view_of<drover::ConstTensorView>(static_cast<const std::byte*>(a), a_layout);
  const drover::ConstTensorView bias =
      asked.epilogue == CUBLASLT_EPILOGUE_DEFAULT
          ? drover::ConstTensorView{}
          : drover::ConstTensorView{static_cast<const std::byte*>(asked.bias), product.dtype, {}, {product.shape[1]}};
  int64_t parts = 3;
  if (algorithm == whole) parts = 1;
  if (algorithm == halves) parts = 2;
  drover::simt::count_launch(stream);
  drover::simt::enqueue(stream, [=, beta = *static_cast<const float*>(beta)] {
    static bool backwards = false;
    backwards = algorithm == thirds_in_place && !backwards;
    if (algorithm == whole && bias.empty())
      drover::cpu::gemm_plain(product, first, tb, second, ta, beta);
    else
      multiply_in_parts(product, first, tb, second, ta, beta, parts, backwards, bias);
    drover::simt::pass_time(milliseconds_of(algorithm, product.shape, k));
    return true;
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
