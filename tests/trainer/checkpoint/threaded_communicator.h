// Ranks as threads of one process, for what a checkpoint needs of a world: barrier and gather_text.
#pragma once
#include <barrier>
#include <exception>
#include <thread>

#include "kernels/base/error.h"
#include "parallel/communicator.h"

namespace drover {

struct ThreadedWorld {
  explicit ThreadedWorld(int ranks) : size(ranks), texts(static_cast<size_t>(ranks)), meet(ranks) {}
  int size;
  std::vector<std::string> texts;
  std::barrier<> meet;
};

class ThreadedCommunicator final : public Communicator {
 public:
  ThreadedCommunicator(ThreadedWorld& world, int rank) : world_(world), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return world_.size; }
  const std::string& name() const override { return name_; }
  void all_reduce(Stream&, TensorView, ReduceOp) override { unused(); }
  void all_gather(Stream&, TensorView) override { unused(); }
  void reduce_scatter(Stream&, TensorView) override { unused(); }
  void broadcast(Stream&, TensorView, int) override { unused(); }
  void send(Stream&, ConstTensorView, int) override { unused(); }
  void recv(Stream&, TensorView, int) override { unused(); }
  void barrier() override { world_.meet.arrive_and_wait(); }
  std::vector<std::string> gather_text(const std::string& mine) override {
    world_.texts[static_cast<size_t>(rank_)] = mine;
    barrier();
    std::vector<std::string> all = world_.texts;
    barrier();
    return all;
  }

 private:
  [[noreturn]] static void unused() { throw Error(ExitCode::internal, "checkpoints do not need this operation"); }
  ThreadedWorld& world_;
  int rank_;
  std::string name_ = "threads";
};

// Runs body(communicator) on `ranks` threads; rethrows the lowest rank's exception.
template <class Body> void run_ranks(int ranks, Body&& body) {
  ThreadedWorld world(ranks);
  std::vector<std::exception_ptr> failures(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  threads.reserve(failures.size());
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadedCommunicator communicator(world, rank);
      try {
        body(communicator);
      } catch (...) {
        failures[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace drover
