// A communicator whose operations stay out of the graphs that are captured around them (trainer/recordings.h): NCCL's communicators here do not
// block and are watched by events, and those by way of host memory wait for the GPU. Neither goes into a capture.
#pragma once
#include "parallel/communicator.h"
#include "trainer/recordings.h"

namespace drover {

class CommunicatorApart final : public Communicator {
 public:
  // Both must outlive it. `inner` alone counts the operations.
  CommunicatorApart(Communicator& inner, Recordings& recordings) : inner_(inner), recordings_(recordings) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& name() const override { return inner_.name(); }

  void all_reduce(Stream& stream, TensorView inout, ReduceOp op) override;
  void all_gather(Stream& stream, TensorView full) override;
  void reduce_scatter(Stream& stream, TensorView full) override;
  void broadcast(Stream& stream, TensorView inout, int root) override;
  void send(Stream& stream, ConstTensorView data, int to) override;
  void recv(Stream& stream, TensorView data, int from) override;
  void barrier() override { inner_.barrier(); }
  std::vector<std::string> gather_text(const std::string& mine) override { return inner_.gather_text(mine); }

 private:
  Communicator& inner_;
  Recordings& recordings_;
};

}  // namespace drover
