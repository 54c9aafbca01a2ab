#include "kernels/cpu/gemm.h"

#if DROVER_WITH_ONEDNN
#include <dnnl.hpp>

#include <algorithm>
#include <map>
#include <tuple>

#include "kernels/base/threads.h"
#include "kernels/bf16.h"
#include "kernels/cpu/matrix.h"

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

// c = a b, or c + a b, by the library, on operands of one dtype that it has a product for.
void multiply(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, TensorView scratch) {
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

// Cuts room for a matrix in f32 off the front of `scratch`.
Matrix take_f32(TensorView& scratch, int64_t rows, int64_t columns) {
  const int64_t bytes = rows * columns * size_of(DType::f32);
  DROVER_CHECK(bytes <= scratch.bytes(), "gemm: scratch of " + std::to_string(scratch.bytes()));
  const Matrix taken{scratch.data, DType::f32, rows, columns, columns, 1};
  scratch = {scratch.data + bytes, DType::u8, scratch.device, {scratch.bytes() - bytes}};
  return taken;
}

// body(row of `wide`, the same row of `x`): `wide` is f32, x bf16, and their columns lie side by side.
template <class Body> void for_rows(const Matrix& wide, const Matrix& x, Body&& body) {
  parallel_for(x.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(reinterpret_cast<float*>(wide.block(i, 1, 0, 1).data), reinterpret_cast<Bf16*>(x.block(i, 1, 0, 1).data));
  });
}

// A matrix of bf16 in f32, stored like it.
Matrix widen(TensorView& scratch, const Matrix& x) {
  if (x.column_stride != 1) return widen(scratch, x.transposed()).transposed();
  const Matrix wide = take_f32(scratch, x.rows, x.columns);
  for_rows(wide, x, [&](float* to, const Bf16* from) {
    for (int64_t j = 0; j < x.columns; ++j) to[j] = static_cast<float>(from[j]);
  });
  return wide;
}

void narrow(const Matrix& x, const Matrix& wide) {
  for_rows(wide, x, [&](const float* from, Bf16* to) {
    for (int64_t j = 0; j < x.columns; ++j) to[j] = Bf16(from[j]);
  });
}

// Block by block, each a sum in f32 of products of at most `depth` terms; with `widened` the operands' blocks become f32 first, so that they
// are never there twice as a whole.
void multiply_in_blocks(const Matrix& c, const Matrix& a, const Matrix& b, bool accumulate, int64_t depth, bool widened,
                        TensorView scratch) {
  const bool direct = c.dtype == DType::f32;
  const int64_t k = a.columns, height = direct && !widened ? c.rows : kWideBlock,
                width = direct && !widened ? c.columns : kWideBlock;
  for (int64_t i = 0; i < c.rows; i += height)
    for (int64_t j = 0; j < c.columns; j += width) {
      const Matrix block = c.block(i, std::min(height, c.rows - i), j, std::min(width, c.columns - j));
      TensorView rest = scratch;
      const Matrix sum = direct ? block : accumulate ? widen(rest, block) : take_f32(rest, block.rows, block.columns);
      for (int64_t l = 0; l < k; l += depth) {
        TensorView room = rest;
        Matrix left = a.block(i, block.rows, l, std::min(depth, k - l)), right = b.block(l, left.columns, j, block.columns);
        if (widened) {
          left = widen(room, left);
          right = widen(room, right);
        }
        multiply(sum, left, right, accumulate || l > 0, room);
      }
      if (!direct) narrow(block, sum);
    }
}

// Terms of a sum at a time: longer ones are slower in oneDNN 2.6 (docs/benchmarks/cpu.md).
// Equal parts of whole cache lines.
constexpr int64_t kLongestSum = 8192;
int64_t depth_of(int64_t k) {
  const int64_t parts = (k + kLongestSum - 1) / kLongestSum, even = (k + parts - 1) / parts;
  return std::min(k, (even + 63) / 64 * 64);
}

// Whether the library multiplies these types on this processor.
bool available(DType output, DType input) {
  const Matrix small{nullptr, input, 16, 16, 16, 1}, result{nullptr, output, 16, 16, 16, 1};
  return Library::instance().product(result, small, small, false).available;
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
  const bool widened = a.dtype == DType::bf16 && bf16_product == Bf16Product::widened;
  if (!(widened ? available(DType::f32, DType::f32) : available(c.dtype, a.dtype)))
    return gemm_plain(c, a, transpose_a, b, transpose_b, beta);
  const Matrix to = matrix_of(c, false), left = matrix_of(a, transpose_a), right = matrix_of(b, transpose_b);
  if (widened || left.columns > kLongestSum)
    multiply_in_blocks(to, left, right, beta != 0, widened ? kWideBlock : depth_of(left.columns), widened, scratch);
  else
    multiply(to, left, right, beta != 0, scratch);
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
