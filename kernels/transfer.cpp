#include "kernels/transfer.h"

#include <cstring>

namespace drover {

void upload(Stream&, TensorView to, const void* source) { std::memcpy(to.data, source, static_cast<size_t>(to.bytes())); }

void download(Stream& stream, void* to, ConstTensorView source) {
  stream.synchronize();
  std::memcpy(to, source.data, static_cast<size_t>(source.bytes()));
}

}  // namespace drover
