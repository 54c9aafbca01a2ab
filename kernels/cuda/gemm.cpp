// Matrix products by cuBLASLt. Its matrices lie column by column: a row-major matrix is the transposed one to it, and so c = a b is asked for
// as c^T = b^T a^T.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <map>
#include <memory>
#include <string>
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
using TimedEvent = Owned<EventHandle, destroy_event>;

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

template <class Value> void set_attribute(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, Value value) {
  require(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof value), "a product's attribute");
}

cublasLtMatmulAlgo_t restored(const GemmAlgorithm& algorithm) { return std::bit_cast<cublasLtMatmulAlgo_t>(algorithm); }

// The library's handle, and the products by shape: asking it for an algorithm takes tens of microseconds, and a run has a few dozen shapes. One
// for the process, which uses one GPU; used by the executor's thread only.
class Library {
 public:
  static Library& instance() {
    static Library library;
    return library;
  }

  void multiply(StreamHandle stream, const GemmCall& call) {
    const GemmShape shape = shape_of(call);
    auto found = products_.find(shape);
    if (found == products_.end()) {
      Product product = describe(shape);
      product.algorithm = proposals(product, shape, 1).front();
      found = products_.emplace(shape, std::move(product)).first;
    }
    require(run(stream, call, found->second, found->second.algorithm), to_string(shape));
  }

  std::vector<GemmAlgorithm> candidates(const GemmShape& shape, int most) const {
    std::vector<GemmAlgorithm> all;
    for (const cublasLtMatmulAlgo_t& proposal : proposals(describe(shape), shape, most))
      all.push_back(std::bit_cast<GemmAlgorithm>(proposal));
    return all;
  }

  std::vector<double> time(StreamHandle stream, const GemmCall& call, std::span<const GemmAlgorithm> candidates) const;

  bool set(const GemmShape& shape, const GemmAlgorithm& algorithm) {
    Product product = describe(shape);
    product.algorithm = restored(algorithm);
    cublasLtMatmulHeuristicResult_t result{};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle_.get(), product.description.get(), product.b.get(), product.a.get(), product.c.get(),
                                product.c.get(), &product.algorithm, &result);
    if (status != CUBLAS_STATUS_SUCCESS || result.workspaceSize > static_cast<size_t>(kGemmScratchBytes)) return false;
    products_.insert_or_assign(shape, std::move(product));
    return true;
  }

 private:
  Library() {
    cublasLtHandle_t handle = nullptr;
    require(cublasLtCreate(&handle), "starting the library");
    handle_.reset(handle);
  }

  // Without an algorithm.
  static Product describe(const GemmShape& s) {
    cublasLtMatmulDesc_t description = nullptr;
    require(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
    Product product{Description(description),
                    s.transpose_a ? layout_of(s.input, s.k, s.m) : layout_of(s.input, s.m, s.k),
                    s.transpose_b ? layout_of(s.input, s.n, s.k) : layout_of(s.input, s.k, s.n),
                    layout_of(s.output, s.m, s.n),
                    {}};
    set_attribute(description, CUBLASLT_MATMUL_DESC_TRANSA, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set_attribute(description, CUBLASLT_MATMUL_DESC_TRANSB, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (s.bias) {
      set_attribute(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      // Where nothing is read yet, the pointer says the alignment: this one no more than any bias has.
      alignas(2 * kBiasAlignment) static constexpr std::byte kPlace[2 * kBiasAlignment]{};
      set_attribute(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(kPlace + kBiasAlignment));
    }
    return product;
  }

  std::vector<cublasLtMatmulAlgo_t> proposals(const Product& product, const GemmShape& shape, int most) const;

  cublasStatus_t run(StreamHandle stream, const GemmCall& call, const Product& product,
                     const cublasLtMatmulAlgo_t& algorithm) const {
    const float one = 1;
    if (!call.bias.empty())
      set_attribute(product.description.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(call.bias.data));
    return cublasLtMatmul(handle_.get(), product.description.get(), &one, call.b.data, product.b.get(), call.a.data,
                          product.a.get(), &call.beta, call.c.data, product.c.get(), call.c.data, product.c.get(), &algorithm,
                          call.scratch.data, static_cast<size_t>(kGemmScratchBytes), stream);
  }

  Owned<cublasLtHandle_t, cublasLtDestroy> handle_;
  std::map<GemmShape, Product> products_;
};

std::vector<cublasLtMatmulAlgo_t> Library::proposals(const Product& product, const GemmShape& shape, int most) const {
  cublasLtMatmulPreference_t preference = nullptr;
  require(cublasLtMatmulPreferenceCreate(&preference), "a preference");
  const Preference owned(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    require(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "a preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kGemmScratchBytes));
  // Where blocks share the terms of one sum, their parts are kept in f32 and added in a step of its own, whose order is fixed. The library's
  // other ways round the parts to the output's type; one of them adds them to the output itself, by turns that its counters give out, of which
  // NVIDIA does not say that their order is the same each time.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(shape.align_b));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(shape.align_a));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(shape.align_c));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(shape.align_c));
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
  int found = 0;
  require(cublasLtMatmulAlgoGetHeuristic(handle_.get(), product.description.get(), product.b.get(), product.a.get(),
                                         product.c.get(), product.c.get(), preference, most, results.data(), &found),
          "an algorithm for " + to_string(shape));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i)
    if (results[static_cast<size_t>(i)].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(results[static_cast<size_t>(i)].algo);
  if (algorithms.empty()) throw Error(ExitCode::hardware, "cuBLASLt has no algorithm for " + to_string(shape));
  return algorithms;
}

// Candidates take turns, so that a clock that changes meanwhile changes for all.
std::vector<double> Library::time(StreamHandle stream, const GemmCall& call, std::span<const GemmAlgorithm> candidates) const {
  constexpr int kWarm = 2, kTimed = 7;
  const Product product = describe(shape_of(call));
  const size_t count = candidates.size();
  std::vector<bool> works(count, true);
  const auto multiply_by = [&](size_t i) {
    works[i] = works[i] && run(stream, call, product, restored(candidates[i])) == CUBLAS_STATUS_SUCCESS;
  };
  for (int turn = 0; turn < kWarm; ++turn)
    for (size_t i = 0; i < count; ++i) multiply_by(i);
  std::vector<TimedEvent> begin, end;
  for (size_t turn = 0; turn < kTimed * count; ++turn) {
    record(begin.emplace_back(create_timer()).get(), stream);
    multiply_by(turn % count);
    record(end.emplace_back(create_timer()).get(), stream);
  }
  synchronize(stream);
  std::vector<double> medians(count, std::numeric_limits<double>::infinity());
  for (size_t i = 0; i < count; ++i) {
    std::array<double, kTimed> seconds{};
    for (size_t turn = 0; turn < kTimed; ++turn)
      seconds[turn] = seconds_between(begin[turn * count + i].get(), end[turn * count + i].get());
    std::nth_element(seconds.begin(), seconds.begin() + kTimed / 2, seconds.end());
    if (works[i]) medians[i] = seconds[kTimed / 2];
  }
  return medians;
}

}  // namespace

void gemm(StreamHandle stream, const GemmCall& call) {
  if (call.c.count() > 0) Library::instance().multiply(stream, call);
}

std::vector<GemmAlgorithm> gemm_candidates(const GemmShape& shape, int most) { return Library::instance().candidates(shape, most); }

std::vector<double> time_gemm(StreamHandle stream, const GemmCall& call, std::span<const GemmAlgorithm> candidates) {
  return Library::instance().time(stream, call, candidates);
}

bool set_gemm_algorithm(const GemmShape& shape, const GemmAlgorithm& algorithm) {
  return Library::instance().set(shape, algorithm);
}

std::string gemm_library() {
  const size_t version = cublasLtGetVersion();
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace drover::cuda
