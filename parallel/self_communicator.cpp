// A group of one: every collective is already done.
#include "parallel/communicator.h"

namespace drover {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  explicit SelfCommunicator(std::string name) : name_(std::move(name)) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  const std::string& name() const override { return name_; }
  void all_reduce(Stream&, TensorView, ReduceOp) override {}
  void all_gather(Stream&, TensorView) override {}
  void reduce_scatter(Stream&, TensorView) override {}
  void broadcast(Stream&, TensorView, int) override {}
  void send(Stream&, ConstTensorView, int to) override { no_peer("send to", to); }
  void recv(Stream&, TensorView, int from) override { no_peer("recv from", from); }
  void barrier() override {}
  std::vector<std::string> gather_text(const std::string& mine) override { return {mine}; }

 private:
  [[noreturn]] void no_peer(const char* operation, int peer) const {
    throw Error(ExitCode::communication, name_ + ": " + operation + " " + std::to_string(peer) + ": the group has one rank");
  }
  std::string name_;
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(std::string name) {
  return std::make_unique<SelfCommunicator>(std::move(name));
}

}  // namespace drover
