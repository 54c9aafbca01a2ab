#include "kernels/transfer.h"

#include <cstring>

#include "kernels/cuda/device.h"

namespace drover {

void upload(Stream& stream, TensorView to, const void* source) {
  if (to.device.type == DeviceType::cuda) return cuda::upload(stream.gpu(), to, source);
  std::memcpy(to.data, source, static_cast<size_t>(to.bytes()));
}

void download(Stream& stream, void* to, ConstTensorView source) {
  if (source.device.type == DeviceType::cuda) return cuda::download(stream.gpu(), to, source);
  std::memcpy(to, source.data, static_cast<size_t>(source.bytes()));
}

}  // namespace drover
