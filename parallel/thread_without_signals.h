// A thread that takes no signals: they are for the one that trains.
#pragma once
#include <signal.h>

#include <thread>
#include <utility>

namespace drover {

template <class Body> std::thread thread_without_signals(Body&& body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::forward<Body>(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace drover
