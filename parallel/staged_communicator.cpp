#include "parallel/staged_communicator.h"

#include "kernels/transfer.h"

namespace drover {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  explicit StagedCommunicator(Communicator& inner) : inner_(inner) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& name() const override { return inner_.name(); }

  void all_reduce(Stream& stream, TensorView inout, ReduceOp op) override {
    staged(stream, inout, true, true, [&](Stream& s, TensorView view) { inner_.all_reduce(s, view, op); });
  }
  void all_gather(Stream& stream, TensorView full) override {
    staged(stream, full, true, true, [&](Stream& s, TensorView view) { inner_.all_gather(s, view); });
  }
  void reduce_scatter(Stream& stream, TensorView full) override {
    staged(stream, full, true, true, [&](Stream& s, TensorView view) { inner_.reduce_scatter(s, view); });
  }
  void broadcast(Stream& stream, TensorView inout, int root) override {
    staged(stream, inout, rank() == root, rank() != root, [&](Stream& s, TensorView view) { inner_.broadcast(s, view, root); });
  }
  void send(Stream& stream, ConstTensorView data, int to) override {
    staged(stream, data, true, false, [&](Stream& s, ConstTensorView view) { inner_.send(s, view, to); });
  }
  void recv(Stream& stream, TensorView data, int from) override {
    staged(stream, data, false, true, [&](Stream& s, TensorView view) { inner_.recv(s, view, from); });
  }
  void barrier() override { inner_.barrier(); }
  std::vector<std::string> gather_text(const std::string& mine) override { return inner_.gather_text(mine); }

 private:
  template <class View, class Call> void staged(Stream& stream, View view, bool reads, bool writes, Call&& call) {
    if (view.device.type == DeviceType::cpu)
      call(stream, view);
    else
      through_host(stream, view, reads, writes, call);
    totals_ = inner_.totals();
  }

  template <class View, class Call> void through_host(Stream& stream, View view, bool reads, bool writes, Call& call) {
    if (memory_.size() < static_cast<size_t>(view.bytes())) memory_.resize(static_cast<size_t>(view.bytes()));
    Stream host;
    if (reads) download(stream, memory_.data(), view);
    call(host, TensorView{memory_.data(), view.dtype, {}, view.shape});
    if constexpr (std::is_same_v<View, TensorView>)
      if (writes) upload(stream, view, memory_.data());
  }

  Communicator& inner_;
  std::vector<std::byte> memory_;  // of the largest tensor so far
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(Communicator& inner) { return std::make_unique<StagedCommunicator>(inner); }

}  // namespace drover
