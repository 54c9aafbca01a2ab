// Reductions to a scalar that stay on the device.
//
//   sum: [1] f64 += sum_i x_i^2      x: f32, any shape      scratch: [kSumOfSquaresScratch] f64
// Accumulates in f64, so finite inputs never overflow: a non-finite result means a non-finite input.
// Sums in a fixed order: deterministic, whatever the thread count.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

constexpr int64_t kSumOfSquaresScratch = 528;  // partial sums of fixed parts of x
void sum_of_squares(Stream& stream, TensorView sum, ConstTensorView x, TensorView scratch);

}  // namespace drover
