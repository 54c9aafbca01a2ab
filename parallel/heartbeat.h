// Who is still there, judged outside MPI: OpenMPI never notices a stopped process or a network that was cut, and a run would wait forever.
//
// The ranks form a ring of TCP connections (parallel/ring_sockets.h). A thread of each rank sends the next one a small message ten times
// within the patience, and measures how long the rank before is silent. So the cost of a rank does not grow with the run, and only one
// connection in each direction leaves a host. What is asked of a peer is that its kernel and its process answer: a rank that computes,
// saves or waits for data for hours is well, a stopped one is not.
//
// Silence counts only while the listener itself runs: a job that was suspended as a whole, or a machine so busy that the listener's own
// thread hardly moves, adds little to it.
//
// Whoever misses the rank before says so along the ring. A stretch of survivors begins behind a lost rank, so all of them learn of one.
#pragma once
#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "parallel/ring_sockets.h"

namespace drover {

struct LostPeer {
  int rank = 0;
  std::string host;
  bool missed_here = false;  // by this rank itself; else the rank before told it
};

class Heartbeat {
 public:
  // `previous_rank` is at the other end of sockets.previous. REQUIRES: patience > 0 (seconds), the same on all ranks. `lost` is called at
  // most once, by the heartbeat's own thread, which does nothing afterwards.
  Heartbeat(RingSockets sockets, int previous_rank, double patience, std::function<void(const LostPeer&)> lost);
  ~Heartbeat();  // takes leave of the next rank, which then misses nobody
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  struct Message;
  void watch();
  bool listen();  // true when the rank before told of a loss
  void report(const Message& message, bool missed_here);
  void say(const Message& message);

  RingSockets sockets_;
  int previous_rank_;
  double patience_;
  std::function<void(const LostPeer&)> lost_;
  std::string heard_, unsent_;  // incomplete messages
  double silence_ = 0;          // of the rank before, seconds
  bool previous_is_open_ = true, previous_left_ = false;
  File wake_;  // an eventfd: the destructor interrupts the thread's wait
  std::atomic<bool> leaving_ = false;
  std::thread thread_;
};

}  // namespace drover
