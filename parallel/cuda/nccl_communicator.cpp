#include "parallel/cuda/nccl_communicator.h"

#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/errors.h"

namespace drover::nccl {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kForever = std::numeric_limits<double>::infinity();
constexpr double kEndSeconds = 10;  // for the ranks to part in order

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return ncclFloat32;
    case DType::f64: return ncclFloat64;
    case DType::bf16: return ncclBfloat16;
    case DType::i32: return ncclInt32;
    case DType::u8: return ncclUint8;
  }
  return ncclUint8;
}

ncclRedOp_t operation_of(ReduceOp op) { return op == ReduceOp::sum ? ncclSum : op == ReduceOp::max ? ncclMax : ncclMin; }

struct Operation {
  const char* name = "";
  int64_t count = 0;
  DType dtype = DType::u8;
  int peer = -1;       // of send, recv and broadcast
  int64_t number = 0;  // in its communicator, from 1; 0: none
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& inner, const Membership& membership)
      : inner_(inner), device_(membership.device), failing_(membership.failing), members_(inner.gather_text(membership.place)) {
    const std::lock_guard<std::timed_mutex> lock(mutex_);
    ncclUniqueId id{};
    const Operation start{.name = "set-up"};
    if (rank() == 0) settle(ncclGetUniqueId(&id), start, 0);
    Stream host;
    inner_.broadcast(host, {reinterpret_cast<std::byte*>(&id), DType::u8, {}, {static_cast<int64_t>(sizeof id)}}, 0);
    cuda::require(cudaSetDevice(device_.index), "choosing a GPU");
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.commName = name().c_str();
    try {
      settle(ncclCommInitRankConfig(&nccl_, size(), id, rank(), &config), start, membership.start_seconds);
    } catch (const Error&) {
      abort();
      throw;
    }
  }
  ~NcclCommunicator() override {
    if (*failing_ || std::uncaught_exceptions() > exceptions_ || !part()) abort();
    for (const Pending& pending : pending_) free_.push_back(pending.done);
    for (const cuda::EventHandle event : free_) cuda::destroy_event(event);
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& name() const override { return inner_.name(); }

  void all_reduce(Stream& stream, TensorView inout, ReduceOp op) override {
    if (on_host(inout)) return through_inner([&] { inner_.all_reduce(stream, inout, op); });
    enqueue(stream, {"all_reduce", inout.count(), inout.dtype}, inout.bytes(), [&](cudaStream_t on) {
      return ncclAllReduce(inout.data, inout.data, elements(inout), type_of(inout.dtype), operation_of(op), nccl_, on);
    });
  }
  void all_gather(Stream& stream, TensorView full) override {
    if (on_host(full)) return through_inner([&] { inner_.all_gather(stream, full); });
    const TensorView mine = slice(full, "all_gather");
    enqueue(stream, {"all_gather", full.count(), full.dtype}, mine.bytes(),
            [&](cudaStream_t on) { return ncclAllGather(mine.data, full.data, elements(mine), type_of(full.dtype), nccl_, on); });
  }
  void reduce_scatter(Stream& stream, TensorView full) override {
    if (on_host(full)) return through_inner([&] { inner_.reduce_scatter(stream, full); });
    const TensorView mine = slice(full, "reduce_scatter");
    enqueue(stream, {"reduce_scatter", full.count(), full.dtype}, full.bytes(), [&](cudaStream_t on) {
      return ncclReduceScatter(full.data, mine.data, elements(mine), type_of(full.dtype), ncclSum, nccl_, on);
    });
  }
  void broadcast(Stream& stream, TensorView inout, int root) override {
    if (on_host(inout)) return through_inner([&] { inner_.broadcast(stream, inout, root); });
    enqueue(stream, {"broadcast", inout.count(), inout.dtype, root}, rank() == root ? inout.bytes() : 0, [&](cudaStream_t on) {
      return ncclBroadcast(inout.data, inout.data, elements(inout), type_of(inout.dtype), root, nccl_, on);
    });
  }
  void send(Stream& stream, ConstTensorView data, int to) override {
    if (on_host(data)) return through_inner([&] { inner_.send(stream, data, to); });
    enqueue(stream, {"send", data.count(), data.dtype, to}, data.bytes(),
            [&](cudaStream_t on) { return ncclSend(data.data, elements(data), type_of(data.dtype), to, nccl_, on); });
  }
  void recv(Stream& stream, TensorView data, int from) override {
    if (on_host(data)) return through_inner([&] { inner_.recv(stream, data, from); });
    enqueue(stream, {"recv", data.count(), data.dtype, from}, 0,
            [&](cudaStream_t on) { return ncclRecv(data.data, elements(data), type_of(data.dtype), from, nccl_, on); });
  }
  void barrier() override { inner_.barrier(); }
  std::vector<std::string> gather_text(const std::string& mine) override { return inner_.gather_text(mine); }

  std::string failure() override {
    const std::unique_lock<std::timed_mutex> lock(mutex_, std::try_to_lock);  // who has it sees for itself
    ncclResult_t state = ncclSuccess;
    if (!lock.owns_lock() || nccl_ == nullptr || ncclCommGetAsyncError(nccl_, &state) != ncclSuccess) return "";
    if (state == ncclSuccess || state == ncclInProgress || failing_->exchange(true)) return "";
    cudaSetDevice(device_.index);  // of this thread: a question about an event would else make a context on GPU 0
    return text(under_way(), reason(state));
  }
  void abandon() override {
    *failing_ = true;
    if (!mutex_.try_lock_for(std::chrono::seconds(1))) return;
    abort();
    mutex_.unlock();
  }

 private:
  struct Pending {
    Operation operation;
    cuda::EventHandle done;
  };

  template <class View> static bool on_host(const View& view) { return view.device.type == DeviceType::cpu; }
  template <class View> static size_t elements(const View& view) { return static_cast<size_t>(view.count()); }

  TensorView slice(TensorView full, const char* operation) const {
    DROVER_CHECK(full.count() % size() == 0,
                 name() + ": " + operation + " of " + to_string(full.shape) + " over " + std::to_string(size()) + " ranks");
    return full.slice(full.count() / size() * rank(), {full.count() / size()});
  }

  template <class Call> void through_inner(Call&& call) {
    const CommTotals before = inner_.totals();
    call();
    totals_.calls += inner_.totals().calls - before.calls;
    totals_.bytes += inner_.totals().bytes - before.bytes;
    totals_.seconds += inner_.totals().seconds - before.seconds;
  }

  template <class Call> void enqueue(Stream& stream, Operation operation, int64_t bytes, Call&& call) {
    const Timed timed(totals_.seconds);
    totals_.calls += 1;
    totals_.bytes += bytes;
    operation.number = ++number_;
    const std::lock_guard<std::timed_mutex> lock(mutex_);
    if (*failing_) park();
    forget_what_is_done();
    settle(call(stream.gpu()), operation, kForever);
    pending_.push_back({operation, event()});
    cuda::record(pending_.back().done, stream.gpu());
  }

  // Until NCCL has done what a call began: only then is it in the stream. Holds the mutex, but for an end without return.
  void settle(ncclResult_t result, const Operation& operation, double limit) {
    const Clock::time_point begin = Clock::now();
    while (result == ncclInProgress) {
      if (*failing_) park();
      const double waited = seconds_since(begin);
      if (waited > limit) fail(operation, "not all ranks came within " + std::to_string(static_cast<int64_t>(limit)) + " s");
      if (waited > 1e-3)
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      else
        std::this_thread::yield();
      if (const ncclResult_t asked = ncclCommGetAsyncError(nccl_, &result); asked != ncclSuccess) result = asked;
    }
    if (result == ncclSuccess) return;
    const bool misused = result == ncclInvalidArgument || result == ncclInvalidUsage;
    fail(misused || pending_.empty() ? operation : under_way(), reason(result));  // a call says, too, what went wrong before it
  }

  [[noreturn]] void fail(const Operation& operation, const std::string& why) {
    if (failing_->exchange(true)) park();
    throw Error(ExitCode::communication, text(operation, why));
  }

  // Somebody else ends the process.
  [[noreturn]] void park() {
    mutex_.unlock();
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }

  std::string reason(ncclResult_t result) const {
    const std::string last = ncclGetLastError(nccl_);
    return std::string("NCCL: ") + ncclGetErrorString(result) + (last.empty() ? "" : " (" + last + ")");
  }

  std::string text(const Operation& operation, const std::string& why) const {
    std::string what = operation.name;
    if (operation.number > 0)
      what += " of " + std::to_string(operation.count) + " " + name_of(operation.dtype) + ", its operation " +
              std::to_string(operation.number) + ",";
    return "communicator " + name() + ", rank " + std::to_string(rank()) + " of " + std::to_string(size()) + " (" +
           members_[static_cast<size_t>(rank())] + "): " + what + " " + partners(operation) + " failed: " + why +
           "; NCCL_DEBUG=WARN says more";
  }

  // The peer, or the others as far as they can be listed.
  std::string partners(const Operation& operation) const {
    constexpr size_t kShown = 8;
    if (operation.peer >= 0) return "with " + members_[static_cast<size_t>(operation.peer)];
    std::string list;
    size_t shown = 0;
    for (size_t r = 0; r < members_.size() && shown < kShown; ++r)
      if (r != static_cast<size_t>(rank())) list += (shown++ == 0 ? "with " : ", ") + members_[r];
    const size_t others = members_.size() - 1;
    return list + (others > shown ? " and " + std::to_string(others - shown) + " more" : "");
  }

  // The oldest that the GPU has not done.
  Operation under_way() const {
    for (const Pending& pending : pending_)
      if (!cuda::reached(pending.done)) return pending.operation;
    return {.name = "the connection"};
  }
  void forget_what_is_done() {
    for (; !pending_.empty() && cuda::reached(pending_.front().done); pending_.pop_front()) free_.push_back(pending_.front().done);
  }
  cuda::EventHandle event() {
    if (free_.empty()) return cuda::create_event();
    const cuda::EventHandle last = free_.back();
    free_.pop_back();
    return last;
  }

  // False where the others do not take part in the end.
  bool part() {
    const Clock::time_point begin = Clock::now();
    ncclResult_t state = ncclCommFinalize(nccl_);
    while (state == ncclInProgress && seconds_since(begin) < kEndSeconds) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (ncclCommGetAsyncError(nccl_, &state) != ncclSuccess) return false;
    }
    return state == ncclSuccess && ncclCommDestroy(nccl_) == ncclSuccess;
  }
  void abort() {
    if (nccl_ != nullptr) ncclCommAbort(nccl_);
    nccl_ = nullptr;
  }

  Communicator& inner_;
  Device device_;
  std::shared_ptr<std::atomic<bool>> failing_;
  std::vector<std::string> members_;  // places, by rank
  const int exceptions_ = std::uncaught_exceptions();
  ncclComm_t nccl_ = nullptr;
  // NCCL's state of one communicator takes one thread at a time, questions included.
  std::timed_mutex mutex_;
  std::deque<Pending> pending_;  // enqueued, and not known to be done
  std::vector<cuda::EventHandle> free_;
  int64_t number_ = 0;
};

}  // namespace

std::string version() {
  int code = 0;
  ncclGetVersion(&code);
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." + std::to_string(code % 100);
}

std::unique_ptr<Communicator> make_communicator(Communicator& inner, const Membership& membership) {
  return std::make_unique<NcclCommunicator>(inner, membership);
}

}  // namespace drover::nccl
