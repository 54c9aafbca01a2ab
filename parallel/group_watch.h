// Ends a process whose communicators fail while no call is there to throw it: the host waits for a GPU, which waits for a collective that will
// never end.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/communicator.h"

namespace drover {

class GroupWatch {
 public:
  // Asks the groups ten times a second. At the first failure the watch's thread calls `failed`, which says it; then what hangs on the GPU
  // is let go, and the process ends with exit code 6. The groups must outlive the watch.
  GroupWatch(std::vector<Communicator*> groups, std::function<void(const std::string&)> failed);
  ~GroupWatch();
  GroupWatch(const GroupWatch&) = delete;
  GroupWatch& operator=(const GroupWatch&) = delete;

 private:
  void watch();
  [[noreturn]] void end() const;

  std::vector<Communicator*> groups_;
  std::function<void(const std::string&)> failed_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool leaving_ = false;
  std::thread thread_;
};

}  // namespace drover
