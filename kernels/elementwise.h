// Fills, casts, sums and biases. f32 and bf16 unless said otherwise; arithmetic in f32, rounded once.
#pragma once
#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

void fill_zero(Stream& stream, TensorView y);                                  // any dtype
void copy(Stream& stream, TensorView y, ConstTensorView x);                    // any dtype, equal on both sides; same count
void cast(Stream& stream, TensorView y, ConstTensorView x);                    // f32 <-> bf16, or equal dtypes; same count
void add(Stream& stream, TensorView y, ConstTensorView a, ConstTensorView b);  // y = a + b; y may be a or b

// y: [tokens, columns] += bias: [columns]
void bias_forward(Stream& stream, TensorView y, ConstTensorView bias);
// dbias: [columns] f32 += sum over tokens of dy: [tokens, columns]; sums in f32 in the order of tokens: deterministic
void bias_backward(Stream& stream, TensorView dbias, ConstTensorView dy);

}  // namespace drover
