// Run by mpirun on N ranks: every operation of the communicators against values that any rank can compute alone. The inputs are small
// integers, so that a sum is exact in whatever order it is made. Sizes lie on both sides of the pieces that one MPI call carries.
//
//   check_communicator              tensors in host memory, by MPI
//   check_communicator nccl         on GPUs by NCCL; ranks that outnumber a host's GPUs share them
//   check_communicator crowded      the same, but NCCL is not told that they share: it must refuse
//   check_communicator late         the last rank does not come
//   check_communicator fails        the third of five operations never ends, on every rank (DROVER_SIMT_NCCL_FAILS)
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "kernels/base/hash.h"
#include "kernels/base/host.h"
#include "kernels/cuda/device.h"
#include "kernels/transfer.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/world.h"

namespace {

using namespace drover;

int failures = 0;

// Values in host memory, and the tensor that a communicator sees: the same memory, or the GPU's.
struct Buffer {
  Buffer(Device device, DType dtype, int64_t count)
      : memory(static_cast<size_t>(count * size_of(dtype))), host{memory.data(), dtype, {}, {count}}, view(host) {
    if (device.type == DeviceType::cpu) return;
    view = {cuda::allocate(host.bytes(), device.index), dtype, device, {count}};
  }
  ~Buffer() {
    if (view.data != host.data) cuda::release(view.data);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void to_device(Stream& stream) const {
    if (view.data != host.data) upload(stream, view, host.data);
  }
  void to_host(Stream& stream) const {
    if (view.data != host.data) download(stream, host.data, view);
  }
  double get(int64_t i) const {
    switch (host.dtype) {
      case DType::f32: return host.as<float>()[i];
      case DType::f64: return host.as<double>()[i];
      case DType::bf16: return static_cast<float>(host.as<Bf16>()[i]);
      case DType::i32: return host.as<int32_t>()[i];
      case DType::u8: return static_cast<double>(host.as<uint8_t>()[i]);
    }
    return 0;
  }
  void set(int64_t i, double value) {
    switch (host.dtype) {
      case DType::f32: host.as<float>()[i] = static_cast<float>(value); break;
      case DType::f64: host.as<double>()[i] = value; break;
      case DType::bf16: host.as<Bf16>()[i] = Bf16(static_cast<float>(value)); break;
      case DType::i32: host.as<int32_t>()[i] = static_cast<int32_t>(value); break;
      case DType::u8: host.as<uint8_t>()[i] = static_cast<uint8_t>(value); break;
    }
  }
  std::vector<std::byte> memory;
  TensorView host, view;
};

// What rank `rank` puts at element i: 0 to 7.
double element(int rank, int64_t i) { return static_cast<double>((i * 5 + rank * 3 + i / 1000) % 8); }

void expect(const Communicator& group, const char* what, const Buffer& buffer, int64_t begin, int64_t end,
            const std::function<double(int64_t)>& wanted) {
  for (int64_t i = begin; i < end; ++i) {
    if (buffer.get(i) == wanted(i)) continue;
    std::printf("%s, rank %d of %d, %s of %s: element %lld is %g, not %g\n", group.name().c_str(), group.rank(), group.size(), what,
                name_of(buffer.view.dtype), static_cast<long long>(i), buffer.get(i), wanted(i));
    ++failures;
    return;
  }
}

void check(Communicator& group, Device device, DType dtype, int64_t count) {
  Stream stream(device);
  const int ranks = group.size(), me = group.rank();
  Buffer buffer(device, dtype, count);
  const auto fill = [&] {
    for (int64_t i = 0; i < count; ++i) buffer.set(i, element(me, i));
    buffer.to_device(stream);
  };
  const auto wanted = [&](const char* what, int64_t begin, int64_t end, const std::function<double(int64_t)>& values) {
    buffer.to_host(stream);
    expect(group, what, buffer, begin, end, values);
  };
  const auto over_ranks = [&](int64_t i, auto&& combine) {
    double value = element(0, i);
    for (int r = 1; r < ranks; ++r) value = combine(value, element(r, i));
    return value;
  };
  const auto sum = [&](int64_t i) { return over_ranks(i, [](double a, double b) { return a + b; }); };
  if (dtype != DType::u8) {
    fill();
    group.all_reduce(stream, buffer.view, ReduceOp::sum);
    wanted("all_reduce sum", 0, count, sum);
    fill();
    group.all_reduce(stream, buffer.view, ReduceOp::max);
    wanted("all_reduce max", 0, count, [&](int64_t i) { return over_ranks(i, [](double a, double b) { return a < b ? b : a; }); });
    fill();
    group.all_reduce(stream, buffer.view, ReduceOp::min);
    wanted("all_reduce min", 0, count, [&](int64_t i) { return over_ranks(i, [](double a, double b) { return b < a ? b : a; }); });
    fill();
    group.reduce_scatter(stream, buffer.view);
    wanted("reduce_scatter", count / ranks * me, count / ranks * (me + 1), sum);
  }
  fill();
  group.all_gather(stream, buffer.view);
  wanted("all_gather", 0, count, [&](int64_t i) { return element(static_cast<int>(i / (count / ranks)), i); });
  fill();
  group.broadcast(stream, buffer.view, ranks - 1);
  wanted("broadcast", 0, count, [&](int64_t i) { return element(ranks - 1, i); });
  if (ranks > 1) {  // along the line of ranks and back
    fill();
    if (me > 0) group.recv(stream, buffer.view, me - 1);
    if (me + 1 < ranks) group.send(stream, buffer.view, me + 1);
    wanted("send and recv", 0, count, [&](int64_t i) { return element(0, i); });
    group.barrier();
  }
}

// Sums of values that round: the same bits on all ranks, and again.
void check_bits(Communicator& group, Device device, DType dtype) {
  constexpr int64_t kCount = 20000;
  Stream stream(device);
  Buffer buffer(device, dtype, kCount);
  std::vector<std::string> mine;
  for (int repeat = 0; repeat < 2; ++repeat) {
    std::mt19937 random(static_cast<unsigned>(group.rank()));
    for (int64_t i = 0; i < kCount; ++i) buffer.set(i, static_cast<double>(random()) / 1e9 - 2);
    buffer.to_device(stream);
    group.all_reduce(stream, buffer.view, ReduceOp::sum);
    buffer.to_host(stream);
    mine.push_back(std::to_string(xxh3(std::string(reinterpret_cast<const char*>(buffer.memory.data()), buffer.memory.size()))));
  }
  for (const std::string& other : group.gather_text(mine[0]))
    if (other != mine[0] || mine[1] != mine[0]) {
      std::printf("%s, rank %d: sums of %s differ among ranks or repeats\n", group.name().c_str(), group.rank(), name_of(dtype));
      ++failures;
      return;
    }
}

// Operations on two streams, that nothing but the communicator orders.
void check_streams(Communicator& group, Device device) {
  constexpr int64_t kCount = 3000;
  Stream one(device), other(device);
  const int ranks = group.size();
  Buffer sums(device, DType::i32, kCount), parts(device, DType::i32, kCount * ranks);
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kCount; ++i) sums.set(i, round), parts.set(group.rank() * kCount + i, group.rank() + round);
    sums.to_device(one);
    parts.to_device(other);
    group.all_reduce(one, sums.view, ReduceOp::sum);
    group.all_gather(other, parts.view);
    if (group.rank() == 0 && ranks > 1) group.send(one, sums.view, 1);
    if (group.rank() == 1) group.recv(one, sums.view, 0);
    parts.to_host(other);
    sums.to_host(one);
    expect(group, "all_reduce beside another stream", sums, 0, kCount, [&](int64_t) { return round * ranks; });
    expect(group, "all_gather beside another stream", parts, 0, kCount * ranks, [&](int64_t i) { return i / kCount + round; });
  }
}

void check(Communicator& group, Device device) {
  const int64_t ranks = group.size();
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8}) {
    const int64_t bytes =
        device.type == DeviceType::cpu ? int64_t{4} << 20 : int64_t{64} << 10;  // one MPI call's, the stand-in's part
    const int64_t piece = bytes / size_of(dtype);
    for (const int64_t slice : {int64_t{1}, int64_t{7}, int64_t{1000}, piece / ranks, piece / ranks + 1, piece + 3})
      check(group, device, dtype, slice * ranks);
    if (dtype != DType::u8 && dtype != DType::i32) check_bits(group, device, dtype);
  }
  check_streams(group, device);
  std::string text(static_cast<size_t>(group.rank() * 3), static_cast<char>('a' + group.rank()));
  const std::vector<std::string> all = group.gather_text(text);
  for (int r = 0; r < group.size(); ++r)
    if (all[static_cast<size_t>(r)] != std::string(static_cast<size_t>(r * 3), static_cast<char>('a' + r))) {
      std::printf("%s: gather_text of rank %d is \"%s\"\n", group.name().c_str(), r, all[static_cast<size_t>(r)].c_str());
      ++failures;
    }
}

// What tensors in host memory go through is the inner communicator, and counted.
void check_host_memory(Communicator& group, const Communicator& inner) {
  const CommTotals before = group.totals(), inner_before = inner.totals();
  check(group, {}, DType::f32, 100 * group.size());
  const int64_t calls = group.totals().calls - before.calls;
  if (calls >= 6 && calls == inner.totals().calls - inner_before.calls) return;
  std::printf("%s: %lld calls counted of tensors in host memory\n", group.name().c_str(), static_cast<long long>(calls));
  ++failures;
}

int check_mpi(World& world) {
  check(world.all(), {});
  const std::unique_ptr<Communicator> parity = world.split(world.rank() % 2, "parity"), alone = world.split(world.rank(), "alone");
  check(*parity, {});
  check(*alone, {});
  return failures;
}

// The host waits for its GPU, and another thread asks what is wrong; or a call says so. No destructor runs: it would wait for the GPU, too.
void wait_for_the_failure(Communicator& group, Device device) {
  const auto end = [](const std::string& text) {
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
    std::_Exit(static_cast<int>(ExitCode::communication));
  };
  Stream stream(device);
  Buffer buffer(device, DType::f32, 500);
  std::thread([&group, end] {
    std::string text;
    while ((text = group.failure()).empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    end(text + group.failure());
  }).detach();
  try {
    for (int64_t count = 100; count <= 500; count += 100) group.all_reduce(stream, buffer.view.slice(0, {count}), ReduceOp::sum);
    stream.synchronize();
  } catch (const Error& error) {
    end(error.what());
  }
}

int check_nccl(World& world, const LauncherView& view, const std::string& mode) {
  const int count = cuda::device_count();
  if (count == 0) throw Error(ExitCode::hardware, "no GPU is seen");
  const Device device{DeviceType::cuda, mode == "crowded" ? 0 : view.local_rank % count};
  if (view.local_size > count && mode != "crowded")
    setenv("NCCL_HOSTID", (host_name() + "-rank-" + std::to_string(view.rank)).c_str(), 1);
  const nccl::Membership membership{.device = device,
                                    .place = "rank " + std::to_string(world.rank()) + "@" + host_name(),
                                    .failing = std::make_shared<std::atomic<bool>>(false),
                                    .start_seconds = mode == "late" ? 1.0 : 300.0};
  const std::unique_ptr<Communicator> parity = world.split(world.rank() % 2, "parity");
  if (mode == "late" && world.rank() == world.size() - 1) {
    world.all().gather_text(membership.place);
    char id[128];
    Stream host;
    world.all().broadcast(host, {reinterpret_cast<std::byte*>(id), DType::u8, {}, {sizeof id}}, 0);
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
  const auto all = nccl::make_communicator(world.all(), membership);
  if (mode == "fails") wait_for_the_failure(*all, device);
  check(*all, device);
  check_host_memory(*all, world.all());
  if (parity->size() > 1) check(*nccl::make_communicator(*parity, membership), device);
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  const LauncherView view = launcher_view();
  setenv("DROVER_SIMT_SEED", std::to_string(view.rank).c_str(), 1);  // the ranks' streams go on in different orders
  World world(view);
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    failures = mode.empty() ? check_mpi(world) : check_nccl(world, view, mode);
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    std::fflush(stdout);
    world.abort(static_cast<int>(error.code()));
  }
  if (failures == 0 && world.rank() == 0) std::printf("all values are right\n");
  return failures == 0 ? 0 : 1;
}
