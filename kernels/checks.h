// What checked entries demand of their arguments. A failure is Error(internal):
// "rmsnorm_forward: weight is f32 [3], expected f32 [4]".
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

// `view` has this dtype and shape, lies on the stream's device and has memory.
void require_tensor(const Stream& stream, const char* op, const char* argument, const ConstTensorView& view, DType dtype,
                    const Shape& shape);
// f32 or bf16.
void require_float(const char* op, const char* argument, const ConstTensorView& view);
void require_rank(const char* op, const char* argument, const ConstTensorView& view, int rank);
// Whether the op runs on a GPU; else on the cpu. The stream's device is one of them.
bool on_gpu(const Stream& stream, const char* op);

}  // namespace drover
