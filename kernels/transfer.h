// Values between host memory and a tensor, wherever it lies, through the stream. download waits until the values have arrived; upload copies
// `source` before it returns, unless it is pinned (kernels/arena.h): then it must stay as it is until the stream has come to the copy.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

void upload(Stream& stream, TensorView to, const void* source);   // to.bytes() bytes
void download(Stream& stream, void* to, ConstTensorView source);  // source.bytes() bytes

}  // namespace drover
