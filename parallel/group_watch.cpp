#include "parallel/group_watch.h"

#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <utility>

#include "kernels/base/error.h"
#include "parallel/thread_without_signals.h"

namespace drover {

GroupWatch::GroupWatch(std::vector<Communicator*> groups, std::function<void(const std::string&)> failed)
    : groups_(std::move(groups)), failed_(std::move(failed)), thread_(thread_without_signals([this] { watch(); })) {}

GroupWatch::~GroupWatch() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void GroupWatch::watch() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, std::chrono::milliseconds(100), [this] { return leaving_; }))
    for (Communicator* group : groups_) {
      const std::string failure = group->failure();
      if (failure.empty()) continue;
      failed_(failure);
      end();
    }
}

void GroupWatch::end() const {
  // A library that is in trouble may hang when it is asked to let go: nobody waits for it longer than a moment.
  const auto done = std::make_shared<std::promise<void>>();
  std::thread([groups = groups_, done] {
    for (Communicator* group : groups) group->abandon();
    done->set_value();
  }).detach();
  done->get_future().wait_for(std::chrono::seconds(2));
  std::_Exit(static_cast<int>(ExitCode::communication));
}

}  // namespace drover
