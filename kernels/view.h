// Contiguous, non-owning views of tensor memory, rank at most 4, row-major.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/bf16.h"
#include "kernels/dtype.h"

namespace drover {

enum class DeviceType : uint8_t { cpu, cuda, simulated };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

struct Shape {
  std::array<int64_t, 4> dims{};  // row-major, dims[rank - 1] is contiguous
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    DROVER_CHECK(sizes.size() <= dims.size(), "rank above 4");
    for (int64_t size : sizes) dims[static_cast<size_t>(rank++)] = size;
  }
  int64_t operator[](int dim) const { return dims[static_cast<size_t>(dim)]; }
  int64_t count() const {
    int64_t product = 1;
    for (int dim = 0; dim < rank; ++dim) product *= dims[static_cast<size_t>(dim)];
    return product;
  }
  bool operator==(const Shape&) const = default;
};

std::string to_string(const Shape& shape);  // "[2, 3]"

template <class T> constexpr DType dtype_of() {
  using Element = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Element, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<Element, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<Element, Bf16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<Element, int32_t>)
    return DType::i32;
  else
    return DType::u8;
}

// `data` may be null: an absent optional argument, or a view carved from a measuring arena.
template <class Byte> struct BasicView {
  Byte* data = nullptr;
  DType dtype = DType::f32;
  Device device{};
  Shape shape{};

  int64_t count() const { return data == nullptr && shape.rank == 0 ? 0 : shape.count(); }
  int64_t bytes() const { return count() * size_of(dtype); }
  bool empty() const { return data == nullptr; }

  // The elements as T. REQUIRES: T is the view's dtype.
  template <class T> auto as() const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
    DROVER_CHECK(dtype_of<T>() == dtype, std::string("view holds ") + name_of(dtype));
    return reinterpret_cast<Element*>(data);
  }
  // `length` elements from flat element `begin`, with a new shape of that many elements.
  BasicView slice(int64_t begin, Shape new_shape) const {
    DROVER_CHECK(begin >= 0 && begin + new_shape.count() <= count(), "slice outside the view");
    return {data == nullptr ? nullptr : data + begin * size_of(dtype), dtype, device, new_shape};
  }
  // Rows [begin, begin + rows) of the first dim.
  BasicView rows(int64_t begin, int64_t rows) const {
    Shape part = shape;
    part.dims[0] = rows;
    return slice(shape.dims[0] == 0 ? 0 : begin * (count() / shape.dims[0]), part);
  }
  BasicView reshape(Shape new_shape) const {
    DROVER_CHECK(new_shape.count() == count(), "reshape " + to_string(shape) + " to " + to_string(new_shape));
    return {data, dtype, device, new_shape};
  }
  operator BasicView<const std::byte>() const requires(!std::is_const_v<Byte>) { return {data, dtype, device, shape}; }
};

using TensorView = BasicView<std::byte>;
using ConstTensorView = BasicView<const std::byte>;

}  // namespace drover
