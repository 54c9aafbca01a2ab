#include "trainer/communicator_apart.h"

namespace drover {

void CommunicatorApart::all_reduce(Stream& stream, TensorView inout, ReduceOp op) {
  recordings_.apart(stream, [this, inout, op](Stream& on) { inner_.all_reduce(on, inout, op); });
}
void CommunicatorApart::all_gather(Stream& stream, TensorView full) {
  recordings_.apart(stream, [this, full](Stream& on) { inner_.all_gather(on, full); });
}
void CommunicatorApart::reduce_scatter(Stream& stream, TensorView full) {
  recordings_.apart(stream, [this, full](Stream& on) { inner_.reduce_scatter(on, full); });
}
void CommunicatorApart::broadcast(Stream& stream, TensorView inout, int root) {
  recordings_.apart(stream, [this, inout, root](Stream& on) { inner_.broadcast(on, inout, root); });
}
void CommunicatorApart::send(Stream& stream, ConstTensorView data, int to) {
  recordings_.apart(stream, [this, data, to](Stream& on) { inner_.send(on, data, to); });
}
void CommunicatorApart::recv(Stream& stream, TensorView data, int from) {
  recordings_.apart(stream, [this, data, from](Stream& on) { inner_.recv(on, data, from); });
}

}  // namespace drover
