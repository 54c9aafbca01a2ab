// Threads that share one queue of tasks.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace drover {

class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool();  // after the tasks that are left
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // What `task` returns or throws comes out of the future.
  template <class Task> auto run(Task&& task) {
    using Result = std::invoke_result_t<std::decay_t<Task>&>;
    auto work = std::make_shared<std::packaged_task<Result()>>(std::forward<Task>(task));
    std::future<Result> result = work->get_future();
    push([work] { (*work)(); });
    return result;
  }

 private:
  void push(std::function<void()> task);
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace drover
