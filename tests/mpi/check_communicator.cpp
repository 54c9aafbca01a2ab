// Run by mpirun on N ranks: every operation of the communicators against values that any rank can compute alone. The inputs are small
// integers, so that a sum is exact in whatever order it is made. Sizes lie on both sides of the pieces that one MPI call carries.
#include <cstdio>
#include <functional>
#include <vector>

#include "parallel/world.h"

namespace {

using namespace drover;

int failures = 0;

struct Buffer {
  Buffer(DType dtype, int64_t count)
      : memory(static_cast<size_t>(count * size_of(dtype))), view{memory.data(), dtype, {}, {count}} {}
  double get(int64_t i) const {
    switch (view.dtype) {
      case DType::f32: return view.as<float>()[i];
      case DType::f64: return view.as<double>()[i];
      case DType::bf16: return static_cast<float>(view.as<Bf16>()[i]);
      case DType::i32: return view.as<int32_t>()[i];
      case DType::u8: return static_cast<double>(view.as<uint8_t>()[i]);
    }
    return 0;
  }
  void set(int64_t i, double value) {
    switch (view.dtype) {
      case DType::f32: view.as<float>()[i] = static_cast<float>(value); break;
      case DType::f64: view.as<double>()[i] = value; break;
      case DType::bf16: view.as<Bf16>()[i] = Bf16(static_cast<float>(value)); break;
      case DType::i32: view.as<int32_t>()[i] = static_cast<int32_t>(value); break;
      case DType::u8: view.as<uint8_t>()[i] = static_cast<uint8_t>(value); break;
    }
  }
  std::vector<std::byte> memory;
  TensorView view;
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

void check(Communicator& group, DType dtype, int64_t count) {
  Stream stream;
  const int ranks = group.size(), me = group.rank();
  Buffer buffer(dtype, count);
  const auto fill = [&] {
    for (int64_t i = 0; i < count; ++i) buffer.set(i, element(me, i));
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
    expect(group, "all_reduce sum", buffer, 0, count, sum);
    fill();
    group.all_reduce(stream, buffer.view, ReduceOp::max);
    expect(group, "all_reduce max", buffer, 0, count,
           [&](int64_t i) { return over_ranks(i, [](double a, double b) { return a < b ? b : a; }); });
    fill();
    group.all_reduce(stream, buffer.view, ReduceOp::min);
    expect(group, "all_reduce min", buffer, 0, count,
           [&](int64_t i) { return over_ranks(i, [](double a, double b) { return b < a ? b : a; }); });
    fill();
    group.reduce_scatter(stream, buffer.view);
    expect(group, "reduce_scatter", buffer, count / ranks * me, count / ranks * (me + 1), sum);
  }
  fill();
  group.all_gather(stream, buffer.view);
  expect(group, "all_gather", buffer, 0, count, [&](int64_t i) { return element(static_cast<int>(i / (count / ranks)), i); });
  fill();
  group.broadcast(stream, buffer.view, ranks - 1);
  expect(group, "broadcast", buffer, 0, count, [&](int64_t i) { return element(ranks - 1, i); });
  if (ranks > 1) {  // along the line of ranks and back
    fill();
    if (me > 0) group.recv(stream, buffer.view, me - 1);
    if (me + 1 < ranks) group.send(stream, buffer.view, me + 1);
    expect(group, "send and recv", buffer, 0, count, [&](int64_t i) { return element(0, i); });
    group.barrier();
  }
}

void check(Communicator& group) {
  const int64_t ranks = group.size();
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8}) {
    const int64_t piece = (int64_t{4} << 20) / size_of(dtype);  // of one MPI call
    for (const int64_t slice : {int64_t{1}, int64_t{7}, int64_t{1000}, piece / ranks, piece / ranks + 1, piece + 3})
      check(group, dtype, slice * ranks);
  }
  std::string text(static_cast<size_t>(group.rank() * 3), static_cast<char>('a' + group.rank()));
  const std::vector<std::string> all = group.gather_text(text);
  for (int r = 0; r < group.size(); ++r)
    if (all[static_cast<size_t>(r)] != std::string(static_cast<size_t>(r * 3), static_cast<char>('a' + r))) {
      std::printf("%s: gather_text of rank %d is \"%s\"\n", group.name().c_str(), r, all[static_cast<size_t>(r)].c_str());
      ++failures;
    }
}

}  // namespace

int main() {
  World world(launcher_view());
  check(world.all());
  const std::unique_ptr<Communicator> parity = world.split(world.rank() % 2, "parity"), alone = world.split(world.rank(), "alone");
  check(*parity);
  check(*alone);
  if (failures == 0 && world.rank() == 0) std::printf("all values are right\n");
  return failures == 0 ? 0 : 1;
}
