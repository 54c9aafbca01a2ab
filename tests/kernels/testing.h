// What kernel tests share: tensors that own their memory, reproducible random values, errors against a reference.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/base/philox.h"
#include "kernels/view.h"

namespace drover::testing {

// The device that tests of ops run on: the cpu, or the first GPU with DROVER_TEST_DEVICE=cuda.
inline Device device() {
  const char* name = std::getenv("DROVER_TEST_DEVICE");
  return {name != nullptr && std::strcmp(name, "cuda") == 0 ? DeviceType::cuda : DeviceType::cpu, 0};
}

// Memory that the host and a GPU both reach, and the wait until the GPU is done with it (tests/gpu/managed_memory.cpp). Null in programs whose
// device works on the host's own memory.
[[gnu::weak]] void* allocate_managed(size_t bytes);
[[gnu::weak]] void release_managed(void* memory);
[[gnu::weak]] void settle();

template <class T> struct Allocator {
  using value_type = T;
  T* allocate(size_t count) {
    return static_cast<T*>(allocate_managed != nullptr ? allocate_managed(count * sizeof(T)) : ::operator new(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t) {
    if (settle != nullptr) settle();
    if (release_managed != nullptr)
      release_managed(memory);
    else
      ::operator delete(memory);
  }
  bool operator==(const Allocator&) const = default;
};

// A tensor with storage of its own, zeroed. Values read and write as double, whatever the dtype.
class Tensor {
 public:
  Tensor(DType dtype, const Shape& shape)
      : dtype_(dtype), shape_(shape), bytes_(static_cast<size_t>(shape.count() * size_of(dtype))) {
    storage_.resize(bytes_ / sizeof(double) + 1);
  }
  Tensor(const Tensor& other) : dtype_(other.dtype_), shape_(other.shape_), bytes_(other.bytes_), storage_(other.settled()) {}
  Tensor(Tensor&&) = default;
  Tensor& operator=(const Tensor& other) { return *this = Tensor(other); }
  Tensor& operator=(Tensor&&) = default;

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t count() const { return shape_.count(); }
  TensorView view() {
    settled();
    return {reinterpret_cast<std::byte*>(storage_.data()), dtype_, device(), shape_};
  }
  ConstTensorView view() const { return {reinterpret_cast<const std::byte*>(settled().data()), dtype_, device(), shape_}; }
  operator TensorView() { return view(); }
  operator ConstTensorView() const { return view(); }

  double get(int64_t i) const {
    switch (dtype_) {
      case DType::f32: return view().as<float>()[i];
      case DType::f64: return view().as<double>()[i];
      case DType::bf16: return static_cast<float>(view().as<Bf16>()[i]);
      case DType::i32: return view().as<int32_t>()[i];
      case DType::u8: return static_cast<double>(view().as<uint8_t>()[i]);
    }
    return 0;
  }
  void set(int64_t i, double value) {
    switch (dtype_) {
      case DType::f32: view().as<float>()[i] = static_cast<float>(value); return;
      case DType::f64: view().as<double>()[i] = value; return;
      case DType::bf16: view().as<Bf16>()[i] = Bf16(static_cast<float>(value)); return;
      case DType::i32: view().as<int32_t>()[i] = static_cast<int32_t>(value); return;
      case DType::u8: view().as<uint8_t>()[i] = static_cast<uint8_t>(value); return;
    }
  }
  std::vector<double> values() const {
    std::vector<double> out(static_cast<size_t>(count()));
    for (int64_t i = 0; i < count(); ++i) out[static_cast<size_t>(i)] = get(i);
    return out;
  }
  void fill(double value) {
    for (int64_t i = 0; i < count(); ++i) set(i, value);
  }
  bool same_bits(const Tensor& other) const {
    return bytes_ == other.bytes_ && std::memcmp(settled().data(), other.storage_.data(), bytes_) == 0;
  }

 private:
  using Storage = std::vector<double, Allocator<double>>;

  // What the device is still to write is written.
  const Storage& settled() const {
    if (settle != nullptr) settle();
    return storage_;
  }

  DType dtype_;
  Shape shape_;
  size_t bytes_;
  Storage storage_;
};

// Normal values times `scale`, rounded to the dtype; the same for the same `seed`.
inline Tensor random_tensor(DType dtype, const Shape& shape, uint64_t seed, double scale = 1) {
  Tensor tensor(dtype, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) tensor.set(i, scale * normal(seed, 0, static_cast<uint64_t>(i)));
  return tensor;
}

// Integers in [0, below).
inline Tensor random_indices(const Shape& shape, int64_t below, uint64_t seed) {
  Tensor tensor(DType::i32, shape);
  for (int64_t i = 0; i < tensor.count(); ++i)
    tensor.set(i, static_cast<double>(philox4x32(seed, static_cast<uint64_t>(i), 0)[0] % static_cast<uint64_t>(below)));
  return tensor;
}

inline Tensor from_values(DType dtype, const Shape& shape, const std::vector<double>& values) {
  Tensor tensor(dtype, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) tensor.set(i, values.at(static_cast<size_t>(i)));
  return tensor;
}

// max_i |a_i - b_i| / max_i |b_i|: relative to the size of the reference, so that cancellation near 0 does not count. NaN is
// infinite.
inline double max_error(const Tensor& a, const std::vector<double>& b) {
  double worst = 0, largest = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    const double difference = std::abs(a.get(i) - b.at(static_cast<size_t>(i)));
    worst = std::isnan(difference) ? HUGE_VAL : std::max(worst, difference);
    largest = std::max(largest, std::abs(b[static_cast<size_t>(i)]));
  }
  return largest > 0 ? worst / largest : worst;
}

// Central differences of `loss` by every element of `x`, in f64: what a hand-written backward must equal.
inline std::vector<double> numerical_gradient(std::vector<double> x, const std::function<double(const std::vector<double>&)>& loss,
                                              double step = 1e-5) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double centre = x[i];
    x[i] = centre + step;
    const double above = loss(x);
    x[i] = centre - step;
    const double below = loss(x);
    x[i] = centre;
    gradient[i] = (above - below) / (2 * step);
  }
  return gradient;
}

// A bound for max_error after one rounding to the dtype.
inline double rounding(DType dtype) { return dtype == DType::bf16 ? 0x1p-8 : 0x1p-23; }

}  // namespace drover::testing
