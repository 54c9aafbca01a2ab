#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include "kernels/base/threads.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_tiles.h"
#include "tests/kernels/cpu/memory_tiles.h"
#include "tests/kernels/testing.h"

namespace drover {
namespace {

using testing::Tensor;

Tensor random_tensor(DType dtype, const Shape& shape, uint64_t stream) {
  Tensor tensor(dtype, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) tensor.set(i, normal(11, stream, static_cast<uint64_t>(i)));
  return tensor;
}

struct Case {
  int64_t m, n, k;
};

// c = op(a) op(b) + beta c, in double, from the very values that the product reads.
std::vector<double> reference(const Tensor& c, const Tensor& a, bool ta, const Tensor& b, bool tb, float beta, const Case& size) {
  std::vector<double> out = c.values();
  for (int64_t i = 0; i < size.m; ++i)
    for (int64_t j = 0; j < size.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < size.k; ++l)
        sum += a.get(ta ? l * size.m + i : i * size.k + l) * b.get(tb ? j * size.k + l : l * size.n + j);
      double& value = out[static_cast<size_t>(i * size.n + j)];
      value = sum + beta * value;
    }
  return out;
}

// f32 accumulation over k terms of unit variance; one rounding to bf16 where the result is bf16.
double bound(DType output, int64_t k, double value) {
  const double accumulation = 4e-7 * std::sqrt(static_cast<double>(k)) * 4;
  return accumulation + (output == DType::bf16 ? std::abs(value) / 256 + 1e-3 : std::abs(value) * 1e-6);
}

enum class Route { library, native_bf16, widened_bf16, tiles_in_memory, plain };

void check(Route route, DType input, DType output, const Case& size, bool ta, bool tb, float beta, int64_t scratch_bytes = 0) {
  SCOPED_TRACE(::testing::Message() << name_of(input) << " to " << name_of(output) << " m " << size.m << " n " << size.n << " k "
                                    << size.k << " ta " << ta << " tb " << tb << " beta " << beta);
  const Tensor a = random_tensor(input, ta ? Shape{size.k, size.m} : Shape{size.m, size.k}, 1);
  const Tensor b = random_tensor(input, tb ? Shape{size.n, size.k} : Shape{size.k, size.n}, 2);
  Tensor c = random_tensor(output, {size.m, size.n}, 3);
  const std::vector<double> expected = reference(c, a, ta, b, tb, beta, size);
  if (scratch_bytes == 0) scratch_bytes = gemm_scratch_bytes(input, size.m, size.n, size.k, threads(), testing::device());
  Tensor scratch(DType::u8, {scratch_bytes});
  Stream stream(testing::device());
  if (route == Route::plain) {
    cpu::gemm_plain(c, a, ta, b, tb, beta);
  } else if (route == Route::tiles_in_memory) {
    cpu::multiply_tiles<cpu::MemoryTiles>(cpu::matrix_of(c, false), cpu::matrix_of(a, ta), cpu::matrix_of(b, tb), beta != 0,
                                          scratch);
  } else if (route != Route::library) {
    cpu::gemm(c, a, ta, b, tb, beta, scratch, route == Route::native_bf16 ? cpu::Bf16Product::native : cpu::Bf16Product::widened);
  } else {
    gemm(stream, c, a, ta, b, tb, beta, scratch);
    EXPECT_EQ(stream.totals(OpKind::gemm).flops, 2 * size.m * size.n * size.k);
  }
  for (int64_t i = 0; i < c.count(); ++i)
    ASSERT_NEAR(c.get(i), expected[static_cast<size_t>(i)], bound(output, size.k, expected[static_cast<size_t>(i)]))
        << "element " << i;
}

void check_all(Route route) {
  for (const Case& size : {Case{1, 1, 1}, Case{3, 5, 7}, Case{17, 33, 65}, Case{64, 96, 128}, Case{130, 2, 300}, Case{1, 258, 48}})
    for (const DType input : {DType::f32, DType::bf16})
      for (const DType output : {DType::f32, DType::bf16}) {
        if (input == DType::f32 && (output == DType::bf16 || route == Route::tiles_in_memory)) continue;
        for (const bool ta : {false, true})
          for (const bool tb : {false, true})
            for (const float beta : {0.0f, 1.0f}) check(route, input, output, size, ta, tb, beta);
      }
}

TEST(Gemm, AgreesWithDoubleReference) { check_all(Route::library); }
// The way that this processor does not take, too.
TEST(Gemm, BothWaysWithBf16AgreeWithDoubleReference) {
  check_all(Route::native_bf16);
  check_all(Route::widened_bf16);
}
// Widened block by block.
TEST(Gemm, ProductsOfSeveralBlocksAgreeWithDoubleReference) {
  for (const bool transposed : {false, true})
    for (const Case& size : {Case{1030, 40, 17}, Case{9, 1100, 40}, Case{20, 8, 2100}})
      for (const DType output : {DType::f32, DType::bf16})
        check(Route::widened_bf16, DType::bf16, output, size, transposed, !transposed, 1);
}
// As with AMX, but for the instructions.
TEST(Gemm, ProductsByTilesAgreeWithDoubleReference) {
  set_threads(2);
  check_all(Route::tiles_in_memory);
  // Several blocks of rows, several panels of columns, several slices of the sum; rows that are tiles as they lie, and rows below them.
  for (const bool transposed : {false, true})
    for (const Case& size : {Case{600, 40, 70}, Case{33, 300, 1030}, Case{70, 100, 600}, Case{200, 100, 640}})
      for (const DType output : {DType::f32, DType::bf16})
        check(Route::tiles_in_memory, DType::bf16, output, size, transposed, !transposed, transposed ? 1 : 0, int64_t{768} << 10);
  EXPECT_THROW(check(Route::tiles_in_memory, DType::bf16, DType::f32, Case{64, 64, 1024}, false, false, 0, 1 << 16), Error);
}
// Of a block whose rows are no rows of words: an odd stride, or an odd first column.
TEST(Gemm, ProductsByTilesOfBlocksAgreeWithDoubleReference) {
  constexpr Case kSize{64, 32, 64};
  for (const auto& [stride, column] : {std::pair<int64_t, int64_t>{65, 0}, {66, 1}, {66, 2}}) {
    const Tensor wide = random_tensor(DType::bf16, {kSize.m, stride}, 1), b = random_tensor(DType::bf16, {kSize.k, kSize.n}, 2);
    Tensor a(DType::bf16, {kSize.m, kSize.k}), c(DType::f32, {kSize.m, kSize.n}), scratch(DType::u8, {1 << 20});
    for (int64_t i = 0; i < kSize.m; ++i)
      for (int64_t l = 0; l < kSize.k; ++l) a.set(i * kSize.k + l, wide.get(i * stride + column + l));
    const std::vector<double> expected = reference(c, a, false, b, false, 0, kSize);
    cpu::multiply_tiles<cpu::MemoryTiles>(cpu::matrix_of(c, false), cpu::matrix_of(wide, false).block(0, kSize.m, column, kSize.k),
                                          cpu::matrix_of(b, false), false, scratch);
    for (int64_t i = 0; i < c.count(); ++i)
      ASSERT_NEAR(c.get(i), expected[static_cast<size_t>(i)], bound(DType::f32, kSize.k, expected[static_cast<size_t>(i)])) << i;
  }
}
// Sums so long that they are made in parts.
TEST(Gemm, LongSumsAgreeWithDoubleReference) {
  for (const Case& size : {Case{3, 5, 8193}, Case{4, 2, 20001}})
    for (const DType input : {DType::f32, DType::bf16})
      for (const DType output : {DType::f32, DType::bf16}) {
        if (input == DType::f32 && output == DType::bf16) continue;
        for (const bool ta : {false, true})
          for (const bool tb : {false, true})
            for (const float beta : {0.0f, 1.0f}) check(Route::library, input, output, size, ta, tb, beta);
      }
  for (const bool transposed : {false, true})
    check(Route::library, DType::bf16, DType::bf16, Case{2, 1030, 8200}, transposed, !transposed, transposed ? 1 : 0);
}
// With room for some of the rows only; how little is enough, the library's version decides.
TEST(Gemm, ProductsCutByRowsAgreeWithDoubleReference) {
  set_threads(2);
  const Case size{384, 128, 128};
  int made = 0;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool transposed : {false, true})
      for (const int64_t kib : {1024, 160, 80}) {
        const Tensor a = random_tensor(dtype, transposed ? Shape{size.k, size.m} : Shape{size.m, size.k}, 1);
        const Tensor b = random_tensor(dtype, {size.k, size.n}, 2);
        Tensor c = random_tensor(DType::f32, {size.m, size.n}, 3), scratch(DType::u8, {kib << 10});
        const std::vector<double> expected = reference(c, a, transposed, b, false, 1, size);
        try {
          cpu::gemm(c, a, transposed, b, false, 1, scratch, cpu::Bf16Product::native);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ExitCode::memory) << error.what();
          continue;
        }
        ++made;
        for (int64_t i = 0; i < c.count(); ++i)
          ASSERT_NEAR(c.get(i), expected[static_cast<size_t>(i)], bound(DType::f32, size.k, expected[static_cast<size_t>(i)])) << i;
      }
  EXPECT_GE(made, 4);
}
TEST(Gemm, PlainLoopsAgreeWithDoubleReference) { check_all(Route::plain); }

TEST(Gemm, OverwritesGarbageWhenBetaIsZero) {
  const Tensor a = random_tensor(DType::f32, {4, 8}, 1), b = random_tensor(DType::f32, {8, 4}, 2);
  Tensor c(DType::f32, {4, 4}), scratch(DType::u8, {gemm_scratch_bytes(DType::f32, 4, 4, 8, threads(), testing::device())});
  c.fill(std::nan(""));
  Stream stream(testing::device());
  gemm(stream, c, a, false, b, false, 0, scratch);
  for (int64_t i = 0; i < c.count(); ++i) EXPECT_TRUE(std::isfinite(c.get(i)));
}

TEST(Gemm, RepeatsToTheBit) {
  set_threads(2);
  const Tensor a = random_tensor(DType::bf16, {96, 160}, 1), b = random_tensor(DType::bf16, {160, 64}, 2);
  Tensor c(DType::f32, {96, 64}), d(DType::f32, {96, 64}),
      scratch(DType::u8, {gemm_scratch_bytes(DType::bf16, 96, 64, 160, threads(), testing::device())});
  Stream stream(testing::device());
  gemm(stream, c, a, false, b, false, 0, scratch);
  gemm(stream, d, a, false, b, false, 0, scratch);
  EXPECT_TRUE(c.same_bits(d));
}

// Two biases in turn, of the same product.
TEST(Gemm, AddsABias) {
  const bool gpu = testing::device().type == DeviceType::cuda;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool aligned : {true, false}) {
      SCOPED_TRACE(::testing::Message() << name_of(dtype) << (aligned ? " aligned" : " not aligned"));
      constexpr Case kSize{13, 24, 40};
      const Tensor x = random_tensor(dtype, {kSize.m, kSize.k}, 1), w = random_tensor(dtype, {kSize.n, kSize.k}, 2);
      Tensor y(dtype, {kSize.m, kSize.n}),
          scratch(DType::u8, {gemm_scratch_bytes(dtype, kSize.m, kSize.n, kSize.k, threads(), testing::device())});
      const std::vector<double> products = reference(Tensor(dtype, y.shape()), x, false, w, true, 0, kSize);
      for (const uint64_t number : {3u, 4u}) {
        const Tensor all = random_tensor(dtype, {1 + kSize.n}, number);
        const int64_t first = aligned ? 0 : 1;
        const ConstTensorView bias{ConstTensorView(all).data + first * size_of(dtype), dtype, testing::device(), {kSize.n}};
        Stream stream(testing::device());
        y.fill(std::nan(""));
        gemm(stream, y, x, false, w, true, 0, scratch, bias);
        EXPECT_EQ(stream.totals(OpKind::elementwise).calls, gpu && aligned ? 0 : 1);
        for (int64_t i = 0; i < y.count(); ++i) {
          const double expected = products[static_cast<size_t>(i)] + all.get(first + i % kSize.n);
          ASSERT_NEAR(y.get(i), expected, 2 * bound(dtype, kSize.k, std::abs(expected) + 4)) << "element " << i;
        }
      }
    }
}

// 257, which is no bf16 (256 and 258 are), and 1: the sum is rounded, not its terms, where the product adds the bias.
TEST(Gemm, RoundsTheSumWithABiasOnce) {
  const Tensor x = testing::from_values(DType::bf16, {1, 2}, {256, 1}),
               w = testing::from_values(DType::bf16, {8, 2}, std::vector<double>(16, 1));
  const Tensor bias = testing::from_values(DType::bf16, {8}, std::vector<double>(8, 1));
  Tensor y(DType::bf16, {1, 8}), scratch(DType::u8, {gemm_scratch_bytes(DType::bf16, 1, 8, 2, threads(), testing::device())});
  Stream stream(testing::device());
  gemm(stream, y, x, false, w, true, 0, scratch, bias);
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(y.get(i), testing::device().type == DeviceType::cuda ? 258 : 256);
}

TEST(Gemm, RefusesShapesThatDoNotFit) {
  const Tensor a(DType::f32, {4, 8}), b(DType::f32, {7, 4});
  Tensor c(DType::f32, {4, 4}), scratch(DType::u8, {int64_t{8} << 20});
  Stream stream(testing::device());
  EXPECT_THROW(gemm(stream, c, a, false, b, false, 0, scratch), Error);
  Tensor small(DType::u8, {16});
  const Tensor good(DType::f32, {8, 4});
  EXPECT_THROW(gemm(stream, c, a, false, good, false, 0, small), Error);
  EXPECT_THROW(gemm(stream, {nullptr, DType::f32, {}, {4, 4}}, a, false, good, false, 0, scratch), Error);
  EXPECT_THROW(gemm(stream, c, a, false, Tensor(DType::bf16, {8, 4}), false, 0, scratch), Error);
  EXPECT_THROW(gemm(stream, c, a, false, good, false, 0, scratch, Tensor(DType::f32, {5})), Error);
  EXPECT_THROW(gemm(stream, c, a, false, good, false, 1, scratch, Tensor(DType::f32, {4})), Error);
  Stream elsewhere(Device{DeviceType::simulated, 0});
  EXPECT_THROW(gemm(elsewhere, c, a, false, good, false, 0, scratch), Error);
}

// The bound that the plan uses holds at the sizes of real models.
TEST(Gemm, LibraryStaysWithinItsScratch) {
  Stream stream(testing::device());
  for (const Case& size : {Case{512, 1536, 512}, Case{2048, 1408, 512}, Case{512, 512, 2048}, Case{64, 4096, 512},
                           Case{32000, 64, 1024}, Case{64, 32000, 256}, Case{64, 1024, 32000}})
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const bool transposed : {false, true}) {
        Tensor a(dtype, transposed ? Shape{size.k, size.m} : Shape{size.m, size.k}), b(dtype, {size.k, size.n});
        Tensor c(DType::f32, {size.m, size.n}),
            scratch(DType::u8, {gemm_scratch_bytes(dtype, size.m, size.n, size.k, threads(), testing::device())});
        EXPECT_NO_THROW(gemm(stream, c, a, transposed, b, false, 1, scratch));
      }
}

}  // namespace
}  // namespace drover
