// Preloaded into every rank: writes each heap allocation above 64 KiB to DROVER_MALLOC_LOG.RANK, as "bytes library", where library is the
// file that asked for it (the C and C++ runtimes are passed over). Linked into nothing.
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

extern "C" {  // NOLINTBEGIN(bugprone-reserved-identifier): glibc's names
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}  // NOLINTEND(bugprone-reserved-identifier)

namespace {

constexpr size_t kLarge = 64 << 10;

thread_local bool inside = false;  // backtrace allocates, too

int log_file() {
  static const int file = [] {
    const char *prefix = getenv("DROVER_MALLOC_LOG"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    char path[4096];
    if (prefix == nullptr) return -1;
    std::snprintf(path, sizeof path, "%s.%s", prefix, rank == nullptr ? "0" : rank);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }();
  return file;
}

const char* base_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

bool is_runtime(const char* library) {
  for (const char* name : {"libmalloc_hook", "libc.", "libstdc++"})
    if (std::strncmp(library, name, std::strlen(name)) == 0) return true;
  return false;
}

void note(size_t bytes) {
  if (bytes <= kLarge || inside) return;
  inside = true;
  void* frames[24];
  const int count = backtrace(frames, 24);
  const char* caller = "unknown";
  for (int i = 0; i < count; ++i) {
    Dl_info info;
    if (dladdr(frames[i], &info) == 0 || info.dli_fname == nullptr || is_runtime(base_name(info.dli_fname))) continue;
    caller = base_name(info.dli_fname);
    break;
  }
  char line[512];
  const int length = std::snprintf(line, sizeof line, "%zu %s\n", bytes, caller);
  if (log_file() >= 0 && write(log_file(), line, static_cast<size_t>(length)) != length) std::abort();
  inside = false;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void* malloc(size_t bytes) {
  note(bytes);
  return __libc_malloc(bytes);
}
__attribute__((visibility("default"))) void* calloc(size_t count, size_t bytes) {
  note(count * bytes);
  return __libc_calloc(count, bytes);
}
__attribute__((visibility("default"))) void* realloc(void* memory, size_t bytes) {
  note(bytes);
  return __libc_realloc(memory, bytes);
}
__attribute__((visibility("default"))) void* memalign(size_t alignment, size_t bytes) {
  note(bytes);
  return __libc_memalign(alignment, bytes);
}
__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
__attribute__((visibility("default"))) int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  *memory = memalign(alignment, bytes);
  return *memory == nullptr ? 12 : 0;  // ENOMEM
}

}  // extern "C"
