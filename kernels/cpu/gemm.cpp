#include "kernels/cpu/gemm.h"

#if DROVER_WITH_ONEDNN
#include <dnnl.hpp>

#include <algorithm>
#include <map>
#include <tuple>

#include "kernels/base/threads.h"
#include "kernels/bf16.h"

namespace drover::cpu {
namespace {

using Key = std::tuple<DType, DType, bool, bool, bool, int64_t, int64_t, int64_t, int64_t>;

struct Product {
  bool available = false;  // false: this processor has no such product in the library, e.g. bf16 without AVX-512
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratch;
};

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

// Rows of a matrix of `all_rows`.
dnnl::memory::desc matrix(DType dtype, int64_t rows, int64_t columns, bool transposed, int64_t all_rows) {
  return {{rows, columns}, type_of(dtype), transposed ? dnnl::memory::dims{1, all_rows} : dnnl::memory::dims{columns, 1}};
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
    const auto& [input, output, transpose_a, transpose_b, accumulate, m, n, k, all_m] = key;
    Product product;
    product.a = matrix(input, m, k, transpose_a, all_m);
    product.b = matrix(input, k, n, transpose_b, k);
    product.c = matrix(output, m, n, false, m);
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
  const auto of_rows = [&](int64_t rows) -> const Product& {
    return library.product({a.dtype, c.dtype, transpose_a, transpose_b, beta != 0, rows, n, k, m});
  };
  if (!of_rows(m).available) return gemm_plain(c, a, transpose_a, b, transpose_b, beta);
  // Of a long sum with few rows or columns oneDNN holds one result a thread; of fewer rows at a time it wants less.
  int64_t rows = m;
  while (static_cast<int64_t>(of_rows(rows).scratch.get_size()) > scratch.bytes() && rows > 1) rows = (rows + 1) / 2;
  for (int64_t begin = 0; begin < m; begin += rows) {
    const Product& product = of_rows(std::min(rows, m - begin));
    if (static_cast<int64_t>(product.scratch.get_size()) > scratch.bytes())
      throw Error(ExitCode::memory, "oneDNN wants " + std::to_string(product.scratch.get_size()) +
                                        " bytes of scratch for a product of [" + std::to_string(m) + ", " + std::to_string(k) +
                                        "] and [" + std::to_string(k) + ", " + std::to_string(n) + "]; the plan has " +
                                        std::to_string(scratch.bytes()));
    const auto memory = [&](const dnnl::memory::desc& desc, const std::byte* data) {
      return dnnl::memory(desc, library.engine(), const_cast<std::byte*>(data));
    };
    const std::byte* first_row = a.data + begin * (transpose_a ? 1 : k) * size_of(a.dtype);
    product.primitive.execute(library.stream(), {{DNNL_ARG_SRC, memory(product.a, first_row)},
                                                 {DNNL_ARG_WEIGHTS, memory(product.b, b.data)},
                                                 {DNNL_ARG_DST, memory(product.c, c.data + begin * n * size_of(c.dtype))},
                                                 {DNNL_ARG_SCRATCHPAD, memory(product.scratch, scratch.data)}});
  }
  library.stream().wait();
}

// A block of a matrix [rows, columns] of f32 or bf16, and its place.
struct Block {
  int64_t row, column, rows, columns;
};

// Cuts room for the block off the front of `scratch`, in f32.
TensorView take_f32(TensorView& scratch, const Block& block) {
  const TensorView taken{scratch.data, DType::f32, scratch.device, {block.rows, block.columns}};
  DROVER_CHECK(taken.bytes() <= scratch.bytes(), "gemm: scratch of " + std::to_string(scratch.bytes()));
  scratch = {scratch.data + taken.bytes(), DType::u8, scratch.device, {scratch.bytes() - taken.bytes()}};
  return taken;
}

// body(row of the block in f32, the same row in x)
template <class Body> void for_rows(TensorView wide, ConstTensorView x, const Block& block, Body&& body) {
  parallel_for(block.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(wide.as<float>() + i * block.columns, (block.row + i) * x.shape[1] + block.column);
  });
}

TensorView widen(TensorView& scratch, ConstTensorView x, const Block& block) {
  const TensorView wide = take_f32(scratch, block);
  for_rows(wide, x, block, [&](float* to, int64_t from) {
    for (int64_t j = 0; j < block.columns; ++j)
      to[j] = x.dtype == DType::f32 ? x.as<float>()[from + j] : static_cast<float>(x.as<Bf16>()[from + j]);
  });
  return wide;
}

void narrow(TensorView x, TensorView wide, const Block& block) {
  for_rows(wide, x, block, [&](const float* from, int64_t to) {
    for (int64_t j = 0; j < block.columns; ++j)
      if (x.dtype == DType::f32)
        x.as<float>()[to + j] = from[j];
      else
        x.as<Bf16>()[to + j] = Bf16(from[j]);
  });
}

// Block by block in f32, so that the operands are never there twice as a whole.
void multiply_widened(TensorView c, ConstTensorView a, bool transpose_a, ConstTensorView b, bool transpose_b, float beta,
                      TensorView scratch) {
  const int64_t m = c.shape[0], n = c.shape[1], k = a.shape[transpose_a ? 0 : 1];
  const auto edge = [](int64_t begin, int64_t end) { return std::min(kWideBlock, end - begin); };
  for (int64_t i = 0; i < m; i += kWideBlock)
    for (int64_t j = 0; j < n; j += kWideBlock) {
      const Block of_c{i, j, edge(i, m), edge(j, n)};
      TensorView rest = scratch;
      const TensorView wide_c = beta != 0 ? widen(rest, c, of_c) : take_f32(rest, of_c);
      for (int64_t l = 0; l < k; l += kWideBlock) {
        const Block of_a{i, l, of_c.rows, edge(l, k)}, of_b{l, j, of_a.columns, of_c.columns};
        const auto stored = [](const Block& block, bool transposed) {
          return transposed ? Block{block.column, block.row, block.columns, block.rows} : block;
        };
        TensorView room = rest;
        const TensorView wide_a = widen(room, a, stored(of_a, transpose_a)), wide_b = widen(room, b, stored(of_b, transpose_b));
        multiply(wide_c, wide_a, transpose_a, wide_b, transpose_b, l > 0 ? 1 : beta, room);
      }
      narrow(c, wide_c, of_c);
    }
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
  multiply_widened(c, a, transpose_a, b, transpose_b, beta, scratch);
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
