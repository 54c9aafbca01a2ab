// A group whose operations do nothing: a base for those of which a test wants one thing only.
#pragma once
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace drover::testing {

class IdleCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  const std::string& name() const override { return name_; }
  void all_reduce(Stream&, TensorView, ReduceOp) override {}
  void all_gather(Stream&, TensorView) override {}
  void reduce_scatter(Stream&, TensorView) override {}
  void broadcast(Stream&, TensorView, int) override {}
  void send(Stream&, ConstTensorView, int) override {}
  void recv(Stream&, TensorView, int) override {}
  void barrier() override {}
  std::vector<std::string> gather_text(const std::string& mine) override { return {mine, ""}; }

 private:
  std::string name_ = "idle";
};

}  // namespace drover::testing
