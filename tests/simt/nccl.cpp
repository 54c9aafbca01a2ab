// NCCL's functions that Drover calls, between processes of one machine. A communicator is a file in shared memory, named after its unique id,
// in which every rank has a place for a part of what it sends; reductions go by rank, so that all get the same bits.
//
// As in NCCL: the operations of a communicator are done one after the other, whatever streams they are on; a send waits for its receive; calls
// of a communicator that does not block return before anything is in the stream, and ranks on the same GPU of the same host (NCCL_HOSTID) are
// refused. DROVER_SIMT_NCCL_FAILS=N: the Nth operation of the process never ends, and its communicator says that another rank is gone;
// DROVER_SIMT_NCCL_ABSENT: the library cannot be opened.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/host.h"
#include "kernels/bf16.h"
#include "tests/simt/simt.h"
#include "tests/simt/streams.h"

namespace drover::simt {
namespace {

constexpr int kMostRanks = 16;
constexpr size_t kPart = 64 << 10;  // bytes

// What ranks must agree on.
struct Header {
  int kind, type, op, root;
  uint64_t count;
  bool operator==(const Header&) const = default;
};

struct Slot {
  std::atomic<uint64_t> published,
      taken;  // parts so far: that lie or lay here; that the owner, of a channel the receiver, has used
  Header header;
  std::byte data[kPart];
};

struct Place {
  std::atomic<bool> arrived;
  char host[128], gpu[32];
  Slot slot;
};

struct Segment {
  std::array<Place, kMostRanks> ranks;
  std::array<std::array<Slot, kMostRanks>, kMostRanks> channels;  // from, to
};

enum Kind { all_reduce, all_gather, reduce_scatter, broadcast, send, recv };

struct Operation {
  Kind kind;
  const std::byte* from;
  std::byte* to;
  size_t count;  // elements of a slice
  ncclDataType_t type;
  ncclRedOp_t op = ncclSum;
  int peer = -1;  // or root
  Header header() const {
    return {kind == recv ? send : kind, type, op, kind < broadcast ? -1 : kind == broadcast ? peer : 0, count};
  }
};

size_t width_of(ncclDataType_t type) {
  switch (type) {
    case ncclFloat64: return 8;
    case ncclFloat32:
    case ncclInt32: return 4;
    case ncclBfloat16: return 2;
    default: return 1;
  }
}

template <class T> T combine(T a, T b, ncclRedOp_t op) {
  if (op == ncclSum) return a + b;
  return (op == ncclMax) == (a < b) ? b : a;
}
Bf16 combine(Bf16 a, Bf16 b, ncclRedOp_t op) { return Bf16(combine(static_cast<float>(a), static_cast<float>(b), op)); }

template <class T> void reduce(std::byte* to, const std::vector<const std::byte*>& parts, size_t count, ncclRedOp_t op) {
  for (size_t i = 0; i < count; ++i) {
    T value = reinterpret_cast<const T*>(parts[0])[i];
    for (size_t r = 1; r < parts.size(); ++r) value = combine(value, reinterpret_cast<const T*>(parts[r])[i], op);
    reinterpret_cast<T*>(to)[i] = value;
  }
}
void reduce(std::byte* to, const std::vector<const std::byte*>& parts, size_t count, ncclDataType_t type, ncclRedOp_t op) {
  switch (type) {
    case ncclFloat64: return reduce<double>(to, parts, count, op);
    case ncclFloat32: return reduce<float>(to, parts, count, op);
    case ncclInt32: return reduce<int32_t>(to, parts, count, op);
    case ncclBfloat16: return reduce<Bf16>(to, parts, count, op);
    default: throw Failure("NCCL's stand-in reduces f32, f64, bf16 and i32 only");
  }
}

// Outlives the communicator, as long as something is queued.
struct State {
  std::string name;
  Segment* segment = nullptr;
  size_t rank = 0, ranks = 0;
  bool connected = false;
  std::atomic<ncclResult_t> result = ncclInProgress;
  std::string error;
  std::atomic<bool> aborted = false;
  std::function<void()> begun;      // a call that has returned and is not in the stream yet
  uint64_t enqueued = 0, done = 0;  // operations
  uint64_t parts = 0;               // of collectives, so far

  ~State() {
    shm_unlink(name.c_str());
    if (segment != nullptr) munmap(segment, sizeof *segment);
  }
  Slot& slot(size_t r) const { return segment->ranks[r].slot; }
  void fail(ncclResult_t how, const std::string& why) {
    error = why;
    result = how;
  }
};

// One operation on its way, part by part. Never waits.
class Transfer {
 public:
  Transfer(std::shared_ptr<State> state, const Operation& operation, bool fails)
      : state_(std::move(state)), o_(operation), number_(state_->enqueued++), fails_(fails), width_(width_of(o_.type)),
        room_(kPart / width_ / (o_.kind == reduce_scatter ? state_->ranks : 1)) {}

  bool advance() {
    State& s = *state_;
    if (s.aborted) return true;
    if (s.done != number_ || s.result != ncclSuccess) return false;
    if (fails_) {
      s.fail(ncclRemoteError, "another rank is gone, says DROVER_SIMT_NCCL_FAILS");
      return false;
    }
    while (begin_ < o_.count || waiting_for_receiver_) {
      const bool moved = o_.kind == send ? send_part() : o_.kind == recv ? receive_part() : written_ ? read_parts() : write_part();
      if (!moved) return false;
    }
    ++s.done;
    return true;
  }

 private:
  size_t part() const { return std::min(room_, o_.count - begin_); }
  void check(const Header& other, size_t rank) const {
    if (other == o_.header()) return;
    throw Failure("NCCL's stand-in: rank " + std::to_string(state_->rank) + " of " + std::to_string(state_->ranks) + " and rank " +
                  std::to_string(rank) + " are at different operations: kinds " + std::to_string(o_.header().kind) + " and " +
                  std::to_string(other.kind) + ", of " + std::to_string(o_.count) + " and " + std::to_string(other.count) +
                  " elements");
  }

  bool write_part() {
    State& s = *state_;
    for (size_t r = 0; r < s.ranks; ++r)
      if (s.slot(r).taken < s.parts) return false;
    Slot& mine = s.slot(s.rank);
    mine.header = o_.header();
    if (o_.kind == reduce_scatter)
      for (size_t r = 0; r < s.ranks; ++r)
        std::memcpy(mine.data + r * part() * width_, o_.from + (r * o_.count + begin_) * width_, part() * width_);
    else if (o_.kind != broadcast || static_cast<size_t>(o_.peer) == s.rank)
      std::memcpy(mine.data, o_.from + begin_ * width_, part() * width_);
    mine.published = s.parts + 1;
    return written_ = true;
  }

  bool read_parts() {
    State& s = *state_;
    std::vector<const std::byte*> data;
    for (size_t r = 0; r < s.ranks; ++r) {
      if (s.slot(r).published < s.parts + 1) return false;
      check(s.slot(r).header, r);
      data.push_back(s.slot(r).data + (o_.kind == reduce_scatter ? s.rank * part() * width_ : 0));
    }
    std::byte* to = o_.to + begin_ * width_;
    if (o_.kind == all_gather)
      for (size_t r = 0; r < s.ranks; ++r) std::memcpy(to + r * o_.count * width_, data[r], part() * width_);
    else if (o_.kind == broadcast)
      std::memcpy(to, data[static_cast<size_t>(o_.peer)], part() * width_);
    else
      reduce(to, data, part(), o_.type, o_.op);
    begin_ += part();
    s.slot(s.rank).taken = ++s.parts;
    written_ = false;
    return true;
  }

  bool send_part() {
    Slot& slot = state_->segment->channels[state_->rank][static_cast<size_t>(o_.peer)];
    if (slot.taken != slot.published) return false;
    if (begin_ == o_.count) {
      waiting_for_receiver_ = false;
      return true;
    }
    slot.header = o_.header();
    std::memcpy(slot.data, o_.from + begin_ * width_, part() * width_);
    begin_ += part();
    waiting_for_receiver_ = true;
    ++slot.published;
    return true;
  }

  bool receive_part() {
    Slot& slot = state_->segment->channels[static_cast<size_t>(o_.peer)][state_->rank];
    if (slot.taken == slot.published) return false;
    check(slot.header, static_cast<size_t>(o_.peer));
    std::memcpy(o_.to + begin_ * width_, slot.data, part() * width_);
    begin_ += part();
    ++slot.taken;
    return true;
  }

  std::shared_ptr<State> state_;
  Operation o_;
  uint64_t number_;
  bool fails_;
  size_t width_, room_, begin_ = 0;  // elements: of a part at most; done
  bool written_ = false, waiting_for_receiver_ = false;
};

// Whether all ranks have come; then, whether they may be together.
void connect(State& s) {
  for (size_t r = 0; r < s.ranks; ++r)
    if (!s.segment->ranks[r].arrived) return;
  s.connected = true;
  shm_unlink(s.name.c_str());
  for (size_t a = 0; a < s.ranks; ++a)
    for (size_t b = a + 1; b < s.ranks; ++b) {
      const Place &first = s.segment->ranks[a], &second = s.segment->ranks[b];
      if (std::strcmp(first.host, second.host) == 0 && std::strcmp(first.gpu, second.gpu) == 0)
        return s.fail(ncclInvalidUsage, "Duplicate GPU detected : rank " + std::to_string(a) + " and rank " + std::to_string(b) +
                                            " both on " + first.gpu);
    }
  s.result = ncclSuccess;
}

bool is_the_one_that_fails() {
  static uint64_t operations = 0;
  const char* wanted = std::getenv("DROVER_SIMT_NCCL_FAILS");
  return ++operations == (wanted == nullptr ? 0 : std::strtoull(wanted, nullptr, 10));
}

}  // namespace
}  // namespace drover::simt

using namespace drover::simt;

struct ncclComm {
  std::shared_ptr<State> state;
};

namespace {

ncclResult_t begin(ncclComm_t comm, cudaStream_t stream, const Operation& operation) {
  State& s = *comm->state;
  if (s.begun) return ncclInvalidUsage;
  if (s.result != ncclSuccess) return s.result;
  s.begun = [state = comm->state, operation, stream] {
    const auto transfer = std::make_shared<Transfer>(state, operation, is_the_one_that_fails());
    enqueue(
        stream, [transfer] { return transfer->advance(); }, WaitsFor::ranks);
  };
  return ncclInProgress;
}

const std::byte* bytes(const void* data) { return static_cast<const std::byte*>(data); }
std::byte* bytes(void* data) { return static_cast<std::byte*>(data); }

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  if (std::getenv("DROVER_SIMT_NCCL_ABSENT") != nullptr) throw Failure("libnccl.so.2 cannot be opened");
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    default: return "an error";
  }
}
const char* ncclGetLastError(ncclComm_t comm) { return comm == nullptr ? "" : comm->state->error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::random_device random;
  std::snprintf(id->internal, sizeof id->internal, "/drover_nccl_%d_%08x%08x", getpid(), random(), random());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 0 || ranks > kMostRanks) return ncclInvalidArgument;
  const auto state = std::make_shared<State>();
  state->name = id.internal;
  state->rank = static_cast<size_t>(rank);
  state->ranks = static_cast<size_t>(ranks);
  const int file = shm_open(id.internal, O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, sizeof(Segment)) != 0) return ncclSystemError;
  void* const memory = mmap(nullptr, sizeof(Segment), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return ncclSystemError;
  state->segment = static_cast<Segment*>(memory);
  Place& mine = state->segment->ranks[state->rank];
  const char* host = std::getenv("NCCL_HOSTID");
  std::snprintf(mine.host, sizeof mine.host, "%s", host == nullptr ? drover::host_name().c_str() : host);
  int device = 0;
  cudaGetDevice(&device);
  cudaDeviceGetPCIBusId(mine.gpu, sizeof mine.gpu, device);
  mine.arrived = true;
  *comm = new ncclComm{state};
  return ncclInProgress;
}

// The question does what a call has begun, so that who does not ask enqueues nothing.
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  State& s = *comm->state;
  if (!s.connected) connect(s);
  *result = s.result;
  if (s.result != ncclSuccess || !s.begun) return ncclSuccess;
  const std::function<void()> begun = std::exchange(s.begun, nullptr);
  begun();
  *result = s.result;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  drain_all();
  return comm->state->result;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->state->aborted = true;
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t stream) {
  return begin(comm, stream, {all_reduce, bytes(from), bytes(to), count, type, op});
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
  return begin(comm, stream, {all_gather, bytes(from), bytes(to), count, type});
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t stream) {
  return begin(comm, stream, {reduce_scatter, bytes(from), bytes(to), count, type, op});
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  return begin(comm, stream, {broadcast, bytes(from), bytes(to), count, type, ncclSum, root});
}
ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return begin(comm, stream, {send, bytes(from), nullptr, count, type, ncclSum, peer});
}
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return begin(comm, stream, {recv, nullptr, bytes(to), count, type, ncclSum, peer});
}

}  // extern "C"
