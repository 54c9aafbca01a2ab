// A shared library that is opened when the first of its functions is wanted.
#pragma once
#include <string>

namespace drover::cuda {

class LazyLibrary {
 public:
  // Opens NAME.MAJOR, then NAME. Throws Error(hardware) where neither is found: "... `what` is needed ...".
  LazyLibrary(const std::string& name, int major, const std::string& what);

  template <class Function> Function* find(const char* function) const { return reinterpret_cast<Function*>(symbol(function)); }

 private:
  void* symbol(const char* function) const;  // throws Error(hardware)
  std::string name_;
  void* handle_;  // never closed: its threads and memory live as long as the process
};

}  // namespace drover::cuda

// A file that forwards a C library's functions names the library once; each function of it then ends with the call of the library's own.
#define DROVER_LAZY_LIBRARY(name, major, what)                                \
  static const drover::cuda::LazyLibrary& library() {                         \
    static const drover::cuda::LazyLibrary instance((name), (major), (what)); \
    return instance;                                                          \
  }
#define DROVER_CALL(name, ...)                                        \
  static const auto function = library().find<decltype(name)>(#name); \
  return function(__VA_ARGS__)
