#include "tests/simt/simt.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include "tests/simt/stack_switch.h"

namespace drover::simt {

Index threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr int kWarp = 32, kRoundsBehind = 32;
constexpr size_t kStack = size_t{128} << 10, kValue = 16;
enum class State : uint8_t { ready, at_barrier, in_exchange, ended };

struct Fiber {
  Stack stack;
  std::unique_ptr<char[]> memory;
  void* fake_stack = nullptr;  // of the address sanitizer
  State state = State::ended;
  unsigned mask = 0;
  int predicate = 0, any = 0;
  unsigned line = 0;  // of the barrier
  std::array<std::byte, kValue> value{};
  size_t size = 0;
};

// xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016): each round of a block draws an order.
class Random {
 public:
  using result_type = uint64_t;
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return UINT64_MAX; }
  void seed(uint64_t seed) { state_ = std::max<uint64_t>(1, seed * 0x9E3779B97F4A7C15); }
  uint64_t operator()() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1D;
  }

 private:
  uint64_t state_ = 1;
};

// The block that runs now, and its scheduler.
class Block {
 public:
  void run(const Launch& launch, const std::function<void()>& thread, Random& random);
  int barrier(unsigned line, int predicate);
  void exchange(unsigned mask, const void* mine, void* other, size_t size, int lanes);
  void* shared() { return shared_.get(); }

 private:
  static void start();
  void resume(int thread);
  void pause();
  void enter(const void* stack, size_t size, void** fake_stack);
  Fiber& fiber(int thread) { return fibers_[static_cast<size_t>(thread)]; }
  const Fiber& fiber(int thread) const { return fibers_[static_cast<size_t>(thread)]; }
  bool release_barrier();
  bool release_exchanges();
  [[noreturn]] void stuck() const;

  std::vector<Fiber> fibers_;
  int count_ = 0, current_ = 0;
  Stack scheduler_;
  void* scheduler_fake_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_stack_size_ = 0;
  const std::function<void()>* thread_ = nullptr;
  std::unique_ptr<std::byte[]> shared_;
  std::exception_ptr failure_;
};

Block& block() {
  static Block instance;
  return instance;
}

Random& random_order() {
  static Random random;
  return random;
}

std::string place(unsigned thread) {
  return "block " + std::to_string(blockIdx.x) + (gridDim.y > 1 ? " part " + std::to_string(blockIdx.y) : "") + ", thread " +
         std::to_string(thread) + ": ";
}

// The address sanitizer is told of every change of stacks.
void Block::enter([[maybe_unused]] const void* stack, [[maybe_unused]] size_t size, [[maybe_unused]] void** fake_stack) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(fake_stack, stack, size);
#endif
}

void arrived([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** from, [[maybe_unused]] size_t* size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, from, size);
#endif
}

void Block::start() {
  Block& b = block();
  arrived(nullptr, &b.scheduler_stack_, &b.scheduler_stack_size_);
  try {
    (*b.thread_)();
  } catch (...) {
    if (!b.failure_) b.failure_ = std::current_exception();
  }
  Fiber& self = b.fiber(b.current_);
  self.state = State::ended;
  b.enter(b.scheduler_stack_, b.scheduler_stack_size_, nullptr);
  switch_stacks(self.stack, b.scheduler_);
}

void Block::resume(int thread) {
  Fiber& self = fiber(thread);
  current_ = thread;
  threadIdx = {static_cast<unsigned>(thread), 0, 0};
  enter(self.memory.get(), kStack, &scheduler_fake_stack_);
  switch_stacks(scheduler_, self.stack);
  arrived(scheduler_fake_stack_, nullptr, nullptr);
}

// Back to the scheduler, until it resumes this thread.
void Block::pause() {
  Fiber& self = fiber(current_);
  enter(scheduler_stack_, scheduler_stack_size_, &self.fake_stack);
  switch_stacks(self.stack, scheduler_);
  arrived(self.fake_stack, &scheduler_stack_, &scheduler_stack_size_);
  if (failure_) throw 0;  // another thread failed: this one's stack unwinds
}

int Block::barrier(unsigned line, int predicate) {
  Fiber& self = fiber(current_);
  self.line = line;
  self.predicate = predicate;
  self.state = State::at_barrier;
  pause();
  return self.any;
}

void Block::exchange(unsigned mask, const void* mine, void* other, size_t size, int lanes) {
  Fiber& self = fiber(current_);
  if (size > kValue) throw Failure(place(threadIdx.x) + "an exchange of " + std::to_string(size) + " bytes");
  if ((mask >> (current_ % kWarp) & 1) == 0) throw Failure(place(threadIdx.x) + "an exchange without the thread itself");
  std::memcpy(self.value.data(), mine, size);
  self.mask = mask;
  self.size = size;
  self.state = State::in_exchange;
  const int lane = current_ % kWarp, from = current_ - lane + (lane ^ lanes);
  pause();
  if ((lane ^ lanes) < kWarp && (mask >> (lane ^ lanes) & 1) != 0)
    std::memcpy(other, fiber(from).value.data(), size);
  else
    std::memset(other, 0xff, size);  // undefined in CUDA
  // Nobody writes its next value before all have read this one.
  self.state = State::in_exchange;
  self.size = 0;
  pause();
}

// All threads that have not ended are at one barrier.
bool Block::release_barrier() {
  int any = 0;
  unsigned line = 0;
  for (int i = 0; i < count_; ++i) {
    const Fiber& self = fiber(i);
    if (self.state == State::in_exchange || self.state == State::ready) return false;
    if (self.state != State::at_barrier) continue;
    if (line != 0 && self.line != line)
      throw Failure(place(static_cast<unsigned>(i)) + "the barrier of line " + std::to_string(self.line) +
                    ", while others are at that of line " + std::to_string(line));
    line = self.line;
    any |= self.predicate;
  }
  for (int i = 0; i < count_; ++i) {
    Fiber& self = fiber(i);
    if (self.state != State::at_barrier) continue;
    self.any = any;
    self.state = State::ready;
  }
  return true;
}

// Every warp whose exchange all lanes of its mask have come to.
bool Block::release_exchanges() {
  bool released = false;
  for (int first = 0; first < count_; first += kWarp) {
    const int lanes = std::min(kWarp, count_ - first);
    for (int lane = 0; lane < lanes; ++lane) {
      const Fiber& leader = fiber(first + lane);
      if (leader.state != State::in_exchange) continue;
      bool all = true;
      for (int other = 0; other < kWarp; ++other) {
        if ((leader.mask >> other & 1) == 0) continue;
        const Fiber* partner = other < lanes ? &fiber(first + other) : nullptr;
        all = all && partner != nullptr && partner->state == State::in_exchange && partner->mask == leader.mask &&
              partner->size == leader.size;
      }
      if (!all) continue;
      const unsigned mask = leader.mask;
      for (int other = 0; other < lanes; ++other)
        if ((mask >> other & 1) != 0) fiber(first + other).state = State::ready;
      released = true;
    }
  }
  return released;
}

void Block::stuck() const {
  for (int i = 0; i < count_; ++i) {
    const Fiber& self = fiber(i);
    if (self.state == State::in_exchange)
      throw Failure(place(static_cast<unsigned>(i)) + "an exchange to which not all threads of its mask come");
  }
  throw Failure(place(0) + "stuck");
}

void Block::run(const Launch& launch, const std::function<void()>& thread, Random& random) {
  count_ = launch.threads;
  thread_ = &thread;
  failure_ = nullptr;
  shared_ = std::make_unique<std::byte[]>(static_cast<size_t>(launch.shared_bytes));
  std::memset(shared_.get(), 0xff, static_cast<size_t>(launch.shared_bytes));  // NaN
  if (fibers_.size() < static_cast<size_t>(count_)) fibers_.resize(static_cast<size_t>(count_));
  for (int i = 0; i < count_; ++i) {
    Fiber& self = fiber(i);
    if (self.memory == nullptr) self.memory = std::make_unique<char[]>(kStack);
    prepare(self.stack, self.memory.get(), kStack, &Block::start);
    self.state = State::ready;
  }
  std::vector<int> order(static_cast<size_t>(count_));
  std::iota(order.begin(), order.end(), 0);
  uint64_t behind = random();  // a bit a warp
  bool progress = true;
  while (true) {
    std::shuffle(order.begin(), order.end(), random);
    // Some warps fall behind for a while: one may be far ahead of another between two barriers.
    if (!progress || random() % kRoundsBehind == 0) behind = random();
    if (failure_) behind = 0;
    progress = false;
    bool running = false, waiting = true;
    for (const int i : order) {
      Fiber& self = fiber(i);
      if (self.state == State::ended) continue;
      running = true;
      const bool ready = self.state == State::ready || failure_;
      waiting = waiting && !ready;
      if (!ready || (behind >> (i / kWarp) & 1) != 0) continue;
      resume(i);
      progress = true;
    }
    if (!running) break;
    if (failure_) continue;  // until all stacks are unwound
    try {
      if (!release_exchanges() && !release_barrier() && waiting) stuck();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace

void set_seed(uint64_t seed) { random_order().seed(seed); }

void run(const Launch& launch, const std::function<void()>& thread) {
  constexpr int kMostThreads = 1024;
  constexpr int64_t kMostShared = 227 * 1024, kMostParts = 65535;
  if (launch.blocks == 0 || launch.parts == 0) return;
  if (launch.threads < 1 || launch.threads > kMostThreads || launch.shared_bytes > kMostShared || launch.parts > kMostParts)
    throw Failure("no H100 takes a launch of " + std::to_string(launch.threads) + " threads a block, " +
                  std::to_string(launch.shared_bytes) + " bytes of shared memory, " + std::to_string(launch.parts) + " parts");
  gridDim = {static_cast<unsigned>(launch.blocks), static_cast<unsigned>(launch.parts), 1};
  blockDim = {static_cast<unsigned>(launch.threads), 1, 1};
  std::vector<int64_t> order(static_cast<size_t>(launch.blocks * launch.parts));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random_order());
  for (const int64_t i : order) {
    blockIdx = {static_cast<unsigned>(i % launch.blocks), static_cast<unsigned>(i / launch.blocks), 0};
    block().run(launch, thread, random_order());
  }
}

int barrier(unsigned line, int predicate) { return block().barrier(line, predicate); }
void exchange(unsigned mask, const void* mine, void* other, size_t size, int lanes) {
  block().exchange(mask, mine, other, size, lanes);
}
void* shared() { return block().shared(); }
void trap() { throw Failure(place(threadIdx.x) + "trap"); }

}  // namespace drover::simt
