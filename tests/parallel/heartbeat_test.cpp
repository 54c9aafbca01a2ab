// A ring of heartbeats in one process, and ranks missing from it.
#include "parallel/heartbeat.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <vector>

namespace drover {
namespace {

constexpr double kPatience = 0.4;  // seconds
constexpr size_t kRanks = 4;

class Ring {
 public:
  // `silent`: ranks whose connections are open, with nobody behind them.
  explicit Ring(const std::vector<size_t>& silent = {}) : ranks_(kRanks) {
    std::vector<std::optional<File>> next(kRanks), previous(kRanks);
    for (size_t rank = 0; rank < kRanks; ++rank) {
      int ends[2];
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        throw Error(ExitCode::internal, "socketpair");
      next[rank] = File::adopt(ends[0], "next");
      previous[(rank + 1) % kRanks] = File::adopt(ends[1], "previous");
    }
    for (size_t rank = 0; rank < kRanks; ++rank) {
      const size_t before = (rank + kRanks - 1) % kRanks;
      RingSockets sockets{std::move(*next[rank]), std::move(*previous[rank]), "host" + std::to_string(before)};
      if (std::find(silent.begin(), silent.end(), rank) == silent.end())
        ranks_[rank].heartbeat.emplace(std::move(sockets), static_cast<int>(before), kPatience,
                                       [this, rank](const LostPeer& peer) { ranks_[rank].lost.set_value(peer); });
      else
        ranks_[rank].open.emplace(std::move(sockets));
    }
  }
  bool lost_within(size_t rank, double seconds) {
    return ranks_[rank].answer.wait_for(std::chrono::duration<double>(seconds)) == std::future_status::ready;
  }
  void expect_lost(size_t rank, int which, bool missed_here) {
    ASSERT_TRUE(lost_within(rank, 20)) << "rank " << rank;
    const LostPeer peer = ranks_[rank].answer.get();
    EXPECT_EQ(peer.rank, which) << "rank " << rank;
    EXPECT_EQ(peer.host, "host" + std::to_string(which)) << "rank " << rank;
    EXPECT_EQ(peer.missed_here, missed_here) << "rank " << rank;
  }
  void leave(size_t rank) { ranks_[rank].heartbeat.reset(); }
  void close(size_t rank) { ranks_[rank].open.reset(); }

 private:
  struct Rank {
    std::promise<LostPeer> lost;
    std::future<LostPeer> answer = lost.get_future();
    std::optional<RingSockets> open;
    std::optional<Heartbeat> heartbeat;
  };
  std::vector<Rank> ranks_;
};

TEST(Heartbeat, NobodyIsMissedWhileAllAreThere) {
  Ring ring;
  for (size_t rank = 0; rank < kRanks; ++rank) EXPECT_FALSE(ring.lost_within(rank, kPatience));
}

TEST(Heartbeat, ASilentRankIsMissedByTheNextAndTheOthersAreTold) {
  Ring ring({1});
  ring.expect_lost(2, 1, true);
  ring.expect_lost(3, 1, false);
  ring.expect_lost(0, 1, false);
}

// As of a host: the survivors between two gaps miss a rank of their own.
TEST(Heartbeat, EveryStretchOfSurvivorsLearnsOfALoss) {
  Ring ring({0, 2});
  ring.expect_lost(1, 0, true);
  ring.expect_lost(3, 2, true);
}

TEST(Heartbeat, WhoTookLeaveIsNotMissed) {
  Ring ring;
  ring.leave(2);
  for (size_t rank : {3, 0, 1}) EXPECT_FALSE(ring.lost_within(rank, kPatience));
}

// A process that died is the launcher's to notice; only when it does not, the heartbeat speaks.
TEST(Heartbeat, AClosedConnectionIsSilence) {
  Ring ring({1});
  ring.close(1);
  EXPECT_FALSE(ring.lost_within(2, kPatience / 2));
  ring.expect_lost(2, 1, true);
}

}  // namespace
}  // namespace drover
