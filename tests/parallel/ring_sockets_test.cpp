// The ring's connections, made between threads that stand for ranks.
#include "parallel/ring_sockets.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <barrier>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "kernels/base/host.h"

namespace drover {
namespace {

constexpr int kPatience = 2;  // seconds

struct Post {
  explicit Post(size_t ranks) : letters(ranks), flags(ranks), texts(ranks), meet(static_cast<std::ptrdiff_t>(ranks)) {}
  std::vector<std::promise<std::string>> letters;  // to each rank
  std::vector<int32_t> flags;
  std::vector<std::string> texts;
  std::barrier<> meet;
};

enum class Letter { whole, empty, another_secret };

// What connect_ring asks of a world. `letter`: how the next rank's word of where it listens arrives.
class Rank final : public Communicator {
 public:
  Rank(Post& post, int rank, Letter letter) : post_(post), rank_(rank), letter_(letter) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(post_.letters.size()); }
  const std::string& name() const override { return name_; }
  void send(Stream&, ConstTensorView data, int to) override {
    post_.letters[static_cast<size_t>(to)].set_value({reinterpret_cast<const char*>(data.data), static_cast<size_t>(data.bytes())});
  }
  void recv(Stream&, TensorView data, int) override {
    std::string letter = post_.letters[static_cast<size_t>(rank_)].get_future().get();
    if (letter_ == Letter::empty) std::fill(letter.begin(), letter.end(), '\0');
    if (letter_ == Letter::another_secret) letter.front() = static_cast<char>(letter.front() ^ 1);
    std::memcpy(data.data, letter.data(), letter.size());
  }
  void all_reduce(Stream&, TensorView inout, ReduceOp) override {
    post_.flags[static_cast<size_t>(rank_)] = *inout.as<int32_t>();
    barrier();
    *inout.as<int32_t>() = *std::max_element(post_.flags.begin(), post_.flags.end());
  }
  std::vector<std::string> gather_text(const std::string& mine) override {
    post_.texts[static_cast<size_t>(rank_)] = mine;
    barrier();
    return post_.texts;
  }
  void barrier() override { post_.meet.arrive_and_wait(); }
  void all_gather(Stream&, TensorView) override {}
  void reduce_scatter(Stream&, TensorView) override {}
  void broadcast(Stream&, TensorView, int) override {}

 private:
  Post& post_;
  int rank_;
  Letter letter_;
  std::string name_ = "threads";
};

struct Connected {
  std::optional<RingSockets> sockets;
  std::string problem;
};

std::vector<Connected> connect_ranks(size_t ranks, Letter to_rank_1 = Letter::whole) {
  Post post(ranks);
  std::vector<Connected> results(ranks);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      Rank world(post, static_cast<int>(rank), rank == 1 ? to_rank_1 : Letter::whole);
      results[rank].sockets = connect_ring(world, results[rank].problem, kPatience);
    });
  for (std::thread& thread : threads) thread.join();
  return results;
}

TEST(RingSockets, LeadFromEachRankToTheNext) {
  for (const size_t ranks : {2, 3, 4}) {
    std::vector<Connected> all = connect_ranks(ranks);
    for (size_t rank = 0; rank < ranks; ++rank) {
      ASSERT_TRUE(all[rank].sockets) << all[rank].problem;
      EXPECT_EQ(all[rank].sockets->previous_host, host_name());
      const char mine = static_cast<char>('0' + rank);
      ASSERT_EQ(send(all[rank].sockets->next.descriptor(), &mine, 1, 0), 1);
    }
    for (size_t rank = 0; rank < ranks; ++rank) {
      pollfd ready{all[rank].sockets->previous.descriptor(), POLLIN, 0};
      ASSERT_EQ(poll(&ready, 1, 10000), 1);
      char heard = 0;
      ASSERT_EQ(recv(ready.fd, &heard, 1, 0), 1);
      EXPECT_EQ(heard, static_cast<char>('0' + (rank + ranks - 1) % ranks));
    }
  }
}

// Half a ring would watch half the ranks: all of them do without, and all say why.
TEST(RingSockets, NoneWhereOneRankCannotReachTheNext) {
  for (const Connected& one : connect_ranks(3, Letter::empty)) {
    EXPECT_FALSE(one.sockets);
    EXPECT_EQ(one.problem.rfind("rank 1@" + host_name() + " cannot reach rank 2@", 0), 0u) << one.problem;
  }
}

// As of another run that listens where a rank of this one did.
TEST(RingSockets, WhoDoesNotKnowTheSecretIsHungUpOn) {
  for (const Connected& one : connect_ranks(3, Letter::another_secret)) {
    EXPECT_FALSE(one.sockets);
    EXPECT_EQ(one.problem, "a rank is not reached by the one before it");
  }
}

}  // namespace
}  // namespace drover
