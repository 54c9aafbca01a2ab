#include "kernels/cpu/gemm.h"

#if DROVER_WITH_ONEDNN
#include <dnnl.hpp>

#include <map>
#include <tuple>

#include "kernels/base/threads.h"
#include "kernels/cpu/ops.h"

namespace drover::cpu {
namespace {

using Key = std::tuple<DType, DType, bool, bool, bool, int64_t, int64_t, int64_t>;

struct Product {
  bool available = false;  // false: this processor has no such product in the library, e.g. bf16 without AVX-512
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratch;
};

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::desc matrix(DType dtype, int64_t rows, int64_t columns, bool transposed) {
  return {{rows, columns}, type_of(dtype), transposed ? dnnl::memory::dims{1, rows} : dnnl::memory::dims{columns, 1}};
}

// oneDNN's engine, and the products made so far by shape: making one takes milliseconds, and a run has a few dozen shapes. One for the
// process, because oneDNN's own threads are; used by the executor's thread only.
class Library {
 public:
  static Library& instance() {
    static Library library;
    return library;
  }

  const Product& product(const Key& key) {
    const auto found = products_.find(key);
    return found != products_.end() ? found->second : products_.emplace(key, make(key)).first->second;
  }
  const dnnl::engine& engine() const { return engine_; }
  dnnl::stream& stream() { return stream_; }

 private:
  Library() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    dnnl::set_verbose(0);  // ONEDNN_VERBOSE and its like must not change a run
  }

  Product make(const Key& key) const {
    const auto& [input, output, transpose_a, transpose_b, accumulate, m, n, k] = key;
    Product product;
    product.a = matrix(input, m, k, transpose_a);
    product.b = matrix(input, k, n, transpose_b);
    product.c = matrix(output, m, n, false);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (accumulate) {
      dnnl::post_ops operations;
      operations.append_sum(1.0f);
      attributes.set_post_ops(operations);
    }
    try {
#if DNNL_VERSION_MAJOR >= 3
      const dnnl::matmul::primitive_desc description(engine_, product.a, product.b, product.c, attributes);
#else
      const dnnl::matmul::primitive_desc description({product.a, product.b, product.c}, attributes, engine_);
#endif
      product.scratch = description.scratchpad_desc();
      product.primitive = dnnl::matmul(description);
      product.available = true;
    } catch (const dnnl::error& error) {
      if (error.status != dnnl_unimplemented) throw Error(ExitCode::hardware, std::string("oneDNN: ") + error.what());
    }
    return product;
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::map<Key, Product> products_;
};

// c = op(a) op(b) + beta c by the library, on operands of one dtype that it has a product for.
void multiply(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta,
              TensorView scratch) {
  const int64_t m = c.shape[0], n = c.shape[1], k = a.shape[transpose_a ? 0 : 1];
  Library& library = Library::instance();
  const Product& product = library.product({a.dtype, c.dtype, transpose_a, transpose_b, beta != 0, m, n, k});
  if (!product.available) return gemm_plain(c, a, transpose_a, b, transpose_b, beta);
  if (static_cast<int64_t>(product.scratch.get_size()) > scratch.bytes())
    throw Error(ExitCode::memory, "oneDNN wants " + std::to_string(product.scratch.get_size()) +
                                      " bytes of scratch for a product of [" + std::to_string(m) + ", " + std::to_string(k) +
                                      "] and [" + std::to_string(k) + ", " + std::to_string(n) + "]; the plan has " +
                                      std::to_string(scratch.bytes()));
  const auto memory = [&](const dnnl::memory::desc& desc, const std::byte* data) {
    return dnnl::memory(desc, library.engine(), const_cast<std::byte*>(data));
  };
  product.primitive.execute(library.stream(), {{DNNL_ARG_SRC, memory(product.a, a.data)},
                                               {DNNL_ARG_WEIGHTS, memory(product.b, b.data)},
                                               {DNNL_ARG_DST, memory(product.c, c.data)},
                                               {DNNL_ARG_SCRATCHPAD, memory(product.scratch, scratch.data)}});
  library.stream().wait();
}

// Cuts an f32 tensor off the front of `scratch`.
TensorView take_f32(TensorView& scratch, const Shape& shape) {
  const TensorView taken{scratch.data, DType::f32, scratch.device, shape};
  DROVER_CHECK(taken.bytes() <= scratch.bytes(), "gemm: scratch of " + std::to_string(scratch.bytes()));
  scratch = {scratch.data + taken.bytes(), DType::u8, scratch.device, {scratch.bytes() - taken.bytes()}};
  return taken;
}

std::string name_of(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41: return "sse41";
    case dnnl::cpu_isa::avx2: return "avx2";
    case dnnl::cpu_isa::avx2_vnni: return "avx2_vnni";
    case dnnl::cpu_isa::avx512_core: return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx: return "avx512_core_amx";
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::avx512_core_fp16: return "avx512_core_fp16";
    case dnnl::cpu_isa::avx512_core_amx_fp16: return "avx512_core_amx_fp16";
#endif
    default: return "instruction set " + std::to_string(static_cast<unsigned>(isa));
  }
}

}  // namespace

// Processors without bf16 instructions multiply f32 faster than they emulate bf16. The products of two bf16 are exact in f32, so only the
// order of additions is another.
Bf16Product best_bf16_product() {
  // An instruction set's value has a bit for each of its parts, so that a newer processor's has this one's too.
  constexpr auto kNeeded = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  static const bool native = (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kNeeded) == kNeeded;
  return native ? Bf16Product::native : Bf16Product::widened;
}

void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta, TensorView scratch,
          Bf16Product bf16_product) {
  if (c.count() == 0) return;
  if (a.dtype == DType::f32 || bf16_product == Bf16Product::native)
    return multiply(c, a, transpose_a, b, transpose_b, beta, scratch);
  const TensorView wide_a = take_f32(scratch, a.shape), wide_b = take_f32(scratch, b.shape);
  cast(wide_a, a);
  cast(wide_b, b);
  if (c.dtype == DType::f32) return multiply(c, wide_a, transpose_a, wide_b, transpose_b, beta, scratch);
  const TensorView wide_c = take_f32(scratch, c.shape);
  if (beta != 0) cast(wide_c, c);
  multiply(wide_c, wide_a, transpose_a, wide_b, transpose_b, beta, scratch);
  cast(c, wide_c);
}

std::string gemm_library() {
  const dnnl::version_t* version = dnnl::version();
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch) +
         ", " + name_of(dnnl::get_effective_cpu_isa());
}

}  // namespace drover::cpu

#else

namespace drover::cpu {

Bf16Product best_bf16_product() { return Bf16Product::widened; }

void gemm(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta, TensorView,
          Bf16Product) {
  gemm_plain(c, a, transpose_a, b, transpose_b, beta);
}

std::string gemm_library() { return "plain loops (built without oneDNN)"; }

}  // namespace drover::cpu

#endif
