// Matrix products by cuBLASLt. Its matrices lie column by column: a row-major matrix is the transposed one to it, and so c = a b is asked for
// as c^T = b^T a^T.
#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/cuda/device.h"

namespace drover::cuda {
namespace {

void require(cublasStatus_t status, const std::string& what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ExitCode::hardware, "cuBLASLt: " + what + ": " + cublasLtGetStatusString(status));
}

template <auto Destroy> struct Destroyer {
  template <class T> void operator()(T* object) const { Destroy(object); }
};
template <class T, auto Destroy> using Owned = std::unique_ptr<std::remove_pointer_t<T>, Destroyer<Destroy>>;

using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// A product's operands as they are stored, row by row.
struct Case {
  DType output, input;
  bool transpose_a, transpose_b;
  int64_t m, n, k;
  uint32_t align_a, align_b, align_c;  // bytes

  auto key() const { return std::tuple(output, input, transpose_a, transpose_b, m, n, k, align_a, align_b, align_c); }
  bool operator<(const Case& other) const { return key() < other.key(); }
  std::string text() const {
    return std::string(name_of(input)) + " [" + std::to_string(m) + ", " + std::to_string(k) + "] times [" + std::to_string(k) +
           ", " + std::to_string(n) + "] to " + name_of(output);
  }
};

struct Product {
  Description description;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm;
};

cudaDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

// Of a matrix stored as [rows, columns].
Layout layout_of(DType dtype, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  require(cublasLtMatrixLayoutCreate(&layout, type_of(dtype), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), columns),
          "a layout");
  return Layout(layout);
}

template <class Value> void set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, Value value) {
  require(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof value), "a product's attribute");
}
template <class Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
  require(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "a preference");
}

uint32_t alignment_of(const std::byte* data) {
  constexpr uintptr_t kMost = 256;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data) | kMost;
  return static_cast<uint32_t>(address & (~address + 1));
}

// The library's handle, and the products made so far by shape: asking it for an algorithm takes tens of microseconds, and a run has a few
// dozen shapes. One for the process, which uses one GPU; used by the executor's thread only.
class Library {
 public:
  static Library& instance() {
    static Library library;
    return library;
  }

  const Product& product(const Case& wanted) {
    const auto found = products_.find(wanted);
    return found != products_.end() ? found->second : products_.emplace(wanted, make(wanted)).first->second;
  }
  cublasLtHandle_t handle() const { return handle_.get(); }

 private:
  Library() {
    cublasLtHandle_t handle = nullptr;
    require(cublasLtCreate(&handle), "starting the library");
    handle_.reset(handle);
  }

  Product make(const Case& w) const {
    cublasLtMatmulDesc_t description = nullptr;
    require(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
    Product product{Description(description),
                    w.transpose_a ? layout_of(w.input, w.k, w.m) : layout_of(w.input, w.m, w.k),
                    w.transpose_b ? layout_of(w.input, w.n, w.k) : layout_of(w.input, w.k, w.n),
                    layout_of(w.output, w.m, w.n),
                    {}};
    set(description, CUBLASLT_MATMUL_DESC_TRANSA, w.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(description, CUBLASLT_MATMUL_DESC_TRANSB, w.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    cublasLtMatmulPreference_t preference = nullptr;
    require(cublasLtMatmulPreferenceCreate(&preference), "a preference");
    const Preference owned(preference);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kGemmScratchBytes));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, w.align_b);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, w.align_a);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, w.align_c);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, w.align_c);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    require(cublasLtMatmulAlgoGetHeuristic(handle_.get(), description, product.b.get(), product.a.get(), product.c.get(),
                                           product.c.get(), preference, 1, &best, &found),
            "an algorithm for " + w.text());
    if (found == 0) throw Error(ExitCode::hardware, "cuBLASLt has no algorithm for " + w.text());
    product.algorithm = best.algo;
    return product;
  }

  Owned<cublasLtHandle_t, cublasLtDestroy> handle_;
  std::map<Case, Product> products_;
};

}  // namespace

void gemm(StreamHandle stream, TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta,
          TensorView scratch) {
  if (c.count() == 0) return;
  const int64_t m = c.shape[0], n = c.shape[1], k = a.shape[transpose_a ? 0 : 1];
  const Case wanted{c.dtype, a.dtype, transpose_a,          transpose_b,          m,
                    n,       k,       alignment_of(a.data), alignment_of(b.data), alignment_of(c.data)};
  const Product& product = Library::instance().product(wanted);
  const float one = 1;
  require(cublasLtMatmul(Library::instance().handle(), product.description.get(), &one, b.data, product.b.get(), a.data,
                         product.a.get(), &beta, c.data, product.c.get(), c.data, product.c.get(), &product.algorithm, scratch.data,
                         static_cast<size_t>(kGemmScratchBytes), stream),
          wanted.text());
}

std::string gemm_library() {
  const size_t version = cublasLtGetVersion();
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace drover::cuda
