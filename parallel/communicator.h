// Collectives and point-to-point over one group of ranks: the only virtual seam of Drover. Implementations: SelfCommunicator (a group
// of one), MpiCommunicator (host memory), StagedCommunicator and NcclCommunicator (both), CommunicatorApart (beside CUDA graphs).
//
// Every call is made by all ranks of the group in the same order. On the cpu a call has completed when it returns; of tensors on a GPU it is
// enqueued, and the operations of one group are done one after the other, whatever streams they were enqueued on. Failures are
// Error(communication) naming the communicator, the operation and this rank. Only the executor's thread calls, but for failure() and
// abandon().
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/stream.h"
#include "kernels/view.h"

namespace drover {

enum class ReduceOp : uint8_t { sum, max, min };

struct CommTotals {
  int64_t calls = 0;
  int64_t bytes = 0;   // payload that this rank sent or contributed
  double seconds = 0;  // of the calls: on the cpu transfer, reduction and waiting for the others
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // in the group
  virtual int size() const = 0;
  virtual const std::string& name() const = 0;

  // inout: f32, f64, bf16 or i32. Sums of bf16 round after each addition. Bitwise equal on all ranks, and over repeats.
  virtual void all_reduce(Stream& stream, TensorView inout, ReduceOp op) = 0;
  // In place: `full` holds size() equal slices; on entry slice rank() is this rank's, on return all are.
  virtual void all_gather(Stream& stream, TensorView full) = 0;
  // In place, sum: on entry `full` is this rank's addend; on return slice rank() holds the sum, the others are undefined.
  virtual void reduce_scatter(Stream& stream, TensorView full) = 0;
  virtual void broadcast(Stream& stream, TensorView inout, int root) = 0;
  virtual void send(Stream& stream, ConstTensorView data, int to) = 0;
  virtual void recv(Stream& stream, TensorView data, int from) = 0;
  virtual void barrier() = 0;

  // Host-side exchange of small strings outside the step (set-up, checkpoints): every rank's text, by rank.
  virtual std::vector<std::string> gather_text(const std::string& mine) = 0;

  // What went wrong after the call that enqueued it had returned, said once; "" as long as nothing did. Any thread.
  virtual std::string failure() { return ""; }
  // Lets go of operations that hang, which leave anything in their tensors: a call after this one never returns. Any thread.
  virtual void abandon() {}

  const CommTotals& totals() const { return totals_; }

 protected:
  CommTotals totals_;
};

std::unique_ptr<Communicator> make_self_communicator(std::string name);

}  // namespace drover
