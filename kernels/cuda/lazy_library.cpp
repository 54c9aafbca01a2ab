#include "kernels/cuda/lazy_library.h"

#include <dlfcn.h>

#include "kernels/base/error.h"

namespace drover::cuda {

LazyLibrary::LazyLibrary(const std::string& name, int major, const std::string& what) : name_(name + "." + std::to_string(major)) {
  handle_ = dlopen(name_.c_str(), RTLD_NOW | RTLD_LOCAL);
  const std::string reason = handle_ == nullptr ? dlerror() : "";
  if (handle_ == nullptr) handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr)
    throw Error(ExitCode::hardware, "a GPU needs " + what + ": " + reason + "; LD_LIBRARY_PATH names the directories to look in");
}

void* LazyLibrary::symbol(const char* function) const {
  void* const address = dlsym(handle_, function);
  if (address == nullptr) throw Error(ExitCode::hardware, name_ + " has no " + function + ": another version is needed");
  return address;
}

}  // namespace drover::cuda
