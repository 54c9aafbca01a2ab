// A group of one: every collective is already done.
#include "parallel/silent_communicator.h"

namespace drover {
namespace {

class SelfCommunicator final : public SilentCommunicator {
 public:
  explicit SelfCommunicator(std::string name) : SilentCommunicator(0, 1, std::move(name)) {}

  void send(Stream&, ConstTensorView, int to) override { no_peer("send to", to); }
  void recv(Stream&, TensorView, int from) override { no_peer("recv from", from); }

 private:
  [[noreturn]] void no_peer(const char* operation, int peer) const {
    throw Error(ExitCode::communication, name() + ": " + operation + " " + std::to_string(peer) + ": the group has one rank");
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(std::string name) {
  return std::make_unique<SelfCommunicator>(std::move(name));
}

}  // namespace drover
