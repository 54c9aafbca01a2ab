// Rotary embedding on the cpu. Arguments as in kernels/rope.h, already checked; `direction` is 1 forward, -1 backward.
#pragma once
#include "kernels/view.h"

namespace drover::cpu {

void rope(TensorView qkv, ConstTensorView positions, ConstTensorView cosine, ConstTensorView sine, int64_t kv_heads,
          float direction);

}  // namespace drover::cpu
