#include "kernels/checks.h"

namespace drover {

namespace {

std::string describe(const ConstTensorView& view) { return std::string(name_of(view.dtype)) + " " + to_string(view.shape); }

}  // namespace

void require_tensor(const Stream& stream, const char* op, const char* argument, const ConstTensorView& view, DType dtype,
                    const Shape& shape) {
  DROVER_CHECK(view.dtype == dtype && view.shape == shape, std::string(op) + ": " + argument + " is " + describe(view) +
                                                               ", expected " + name_of(dtype) + " " + to_string(shape));
  DROVER_CHECK(view.device == stream.device(), std::string(op) + ": " + argument + " lies on another device than the stream");
  DROVER_CHECK(view.data != nullptr || view.count() == 0, std::string(op) + ": " + argument + " has no memory");
}

void require_float(const char* op, const char* argument, const ConstTensorView& view) {
  DROVER_CHECK(view.dtype == DType::f32 || view.dtype == DType::bf16,
               std::string(op) + ": " + argument + " is " + describe(view) + ", expected f32 or bf16");
}

void require_rank(const char* op, const char* argument, const ConstTensorView& view, int rank) {
  DROVER_CHECK(view.shape.rank == rank,
               std::string(op) + ": " + argument + " is " + describe(view) + ", expected rank " + std::to_string(rank));
}

bool on_gpu(const Stream& stream, const char* op) {
  const DeviceType device = stream.device().type;
  DROVER_CHECK(device == DeviceType::cpu || device == DeviceType::cuda, std::string(op) + " has no implementation for this device");
  return device == DeviceType::cuda;
}

}  // namespace drover
