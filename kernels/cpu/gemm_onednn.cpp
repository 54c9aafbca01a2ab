#include "kernels/cpu/gemm_library.h"

#if DROVER_WITH_ONEDNN
#include <dnnl.hpp>

#include <algorithm>
#include <map>
#include <tuple>

namespace drover::cpu {
namespace {

struct Product {
  bool available = false;  // false: this processor has no such product in the library, e.g. bf16 without AVX-512
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratch;
};

dnnl::memory::desc describe(const Matrix& x) {
  return {{x.rows, x.columns},
          x.dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32,
          {x.row_stride, x.column_stride}};
}

// oneDNN's engine, and the products made so far by shape: making one takes milliseconds, and a run has a few dozen shapes. One for the
// process, because oneDNN's own threads are; used by the executor's thread only.
class Library {
 public:
  static Library& instance() {
    static Library library;
    return library;
  }

  const Product& product(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate) {
    const Key key{a.dtype,      c.dtype,         accumulate,   c.rows,          c.columns,   a.columns,
                  a.row_stride, a.column_stride, b.row_stride, b.column_stride, c.row_stride};
    const auto found = products_.find(key);
    return found != products_.end() ? found->second : products_.emplace(key, make(c, a, b, accumulate)).first->second;
  }
  const dnnl::engine& engine() const { return engine_; }
  dnnl::stream& stream() { return stream_; }

 private:
  using Key = std::tuple<DType, DType, bool, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

  Library() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    dnnl::set_verbose(0);  // ONEDNN_VERBOSE and its like must not change a run
  }

  Product make(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate) const {
    Product product;
    product.a = describe(a);
    product.b = describe(b);
    product.c = describe(c);
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

void library_multiply(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, TensorView scratch) {
  Library& library = Library::instance();
  const auto of_rows = [&](int64_t begin, int64_t rows) -> const Product& {
    return library.product(c.block(begin, rows, 0, c.columns), a.block(begin, rows, 0, a.columns), b, accumulate);
  };
  // Of a long sum with few rows or columns oneDNN holds one result a thread; of fewer rows at a time it wants less.
  int64_t rows = c.rows;
  while (static_cast<int64_t>(of_rows(0, rows).scratch.get_size()) > scratch.bytes() && rows > 1) rows = (rows + 1) / 2;
  for (int64_t begin = 0; begin < c.rows; begin += rows) {
    const Product& product = of_rows(begin, std::min(rows, c.rows - begin));
    if (static_cast<int64_t>(product.scratch.get_size()) > scratch.bytes())
      throw Error(ExitCode::memory, "oneDNN wants " + std::to_string(product.scratch.get_size()) +
                                        " bytes of scratch for a product of [" + std::to_string(c.rows) + ", " +
                                        std::to_string(a.columns) + "] and [" + std::to_string(a.columns) + ", " +
                                        std::to_string(c.columns) + "]; the plan has " + std::to_string(scratch.bytes()));
    const auto memory = [&](const dnnl::memory::desc& desc, std::byte* data) { return dnnl::memory(desc, library.engine(), data); };
    product.primitive.execute(library.stream(), {{DNNL_ARG_SRC, memory(product.a, a.block(begin, 1, 0, 1).data)},
                                                 {DNNL_ARG_WEIGHTS, memory(product.b, b.data)},
                                                 {DNNL_ARG_DST, memory(product.c, c.block(begin, 1, 0, 1).data)},
                                                 {DNNL_ARG_SCRATCHPAD, memory(product.scratch, scratch.data)}});
  }
  library.stream().wait();
}

bool library_multiplies(DType output, DType input) {
  const Matrix small{nullptr, input, 16, 16, 16, 1}, result{nullptr, output, 16, 16, 16, 1};
  return Library::instance().product(result, small, small, false).available;
}

// An instruction set's value has a bit for each of its parts, so that a newer processor's has this one's too.
bool library_has_bf16_instructions() {
  constexpr auto kNeeded = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kNeeded) == kNeeded;
}

std::string library_name() {
  const dnnl::version_t* version = dnnl::version();
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch) +
         ", " + name_of(dnnl::get_effective_cpu_isa());
}

}  // namespace drover::cpu

#else

namespace drover::cpu {

void library_multiply(const Matrix&, const Matrix&, const Matrix&, bool, TensorView) {
  DROVER_CHECK(false, "built without oneDNN");
}
bool library_multiplies(DType, DType) { return false; }
bool library_has_bf16_instructions() { return false; }
std::string library_name() { return "plain loops (built without oneDNN)"; }

}  // namespace drover::cpu

#endif
