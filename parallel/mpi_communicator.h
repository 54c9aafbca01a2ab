// A group of ranks over MPI, on host memory. Buffers of any size travel in bounded pieces, so that the temporaries of the MPI library
// stay small beside the planned memory.
#pragma once
#include <mpi.h>

#include "parallel/communicator.h"

namespace drover {

class MpiCommunicator final : public Communicator {
 public:
  // Takes over `communicator`, and frees it when `owned`.
  MpiCommunicator(MPI_Comm communicator, std::string name, bool owned);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& name() const override { return name_; }
  void all_reduce(Stream& stream, TensorView inout, ReduceOp op) override;
  void all_gather(Stream& stream, TensorView full) override;
  void reduce_scatter(Stream& stream, TensorView full) override;
  void broadcast(Stream& stream, TensorView inout, int root) override;
  void send(Stream& stream, ConstTensorView data, int to) override;
  void recv(Stream& stream, TensorView data, int from) override;
  void barrier() override;
  std::vector<std::string> gather_text(const std::string& mine) override;

 private:
  void check(int code, const char* operation) const;  // throws Error(communication)
  [[nodiscard]] Timed count(int64_t bytes);
  MPI_Op operation(DType dtype, ReduceOp op) const;

  MPI_Comm communicator_;
  std::string name_;
  bool owned_;
  int rank_ = 0, size_ = 1;
  MPI_Op bf16_sum_ = MPI_OP_NULL, bf16_max_ = MPI_OP_NULL, bf16_min_ = MPI_OP_NULL;
  std::vector<std::byte> staging_;  // of reduce_scatter: one piece of each rank's slice
};

}  // namespace drover
