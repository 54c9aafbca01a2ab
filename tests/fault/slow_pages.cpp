// A disk that takes its time, as a preloaded library: every page of a *.tokens file that is read keeps the reader waiting for
// DROVER_PAGE_MILLISECONDS, again and again, but the first page, whose header is read before training. Mappings are made unreadable; the
// fault handler waits, opens the page, and shuts the one before.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr uintptr_t kPage = 4096;
struct Range {
  uintptr_t begin = 0, end = 0;
};
Range ranges[64];
std::atomic<int> range_count{0};
std::atomic<uintptr_t> open_page{0};
long milliseconds = 0;

void protect(uintptr_t begin, size_t bytes, int protection) {
  mprotect(reinterpret_cast<void*>(begin), bytes, protection);  // NOLINT(performance-no-int-to-ptr): an address of the fault
}

void on_fault(int signal_number, siginfo_t* info, void*) {
  const uintptr_t page = reinterpret_cast<uintptr_t>(info->si_addr) & ~(kPage - 1);
  for (int i = 0; i < range_count; ++i) {
    if (page < ranges[i].begin || page >= ranges[i].end) continue;
    const timespec wait{milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&wait, nullptr);
    const uintptr_t before = open_page.exchange(page);
    protect(page, kPage, PROT_READ);
    if (before != 0 && before != page && before + kPage != page) protect(before, kPage, PROT_NONE);
    return;
  }
  signal(signal_number, SIG_DFL);  // a fault of the program's own
}

bool is_shard(int descriptor) {
  char link[64] = "/proc/self/fd/", target[4096];
  char digits[16];
  int count = 0;
  for (int rest = descriptor; rest > 0 || count == 0; rest /= 10) digits[count++] = static_cast<char>('0' + rest % 10);
  size_t at = std::strlen(link);
  while (count > 0) link[at++] = digits[--count];
  link[at] = '\0';
  const ssize_t length = readlink(link, target, sizeof target);
  constexpr char kEnding[] = ".tokens";
  return length > 7 && std::memcmp(target + length - 7, kEnding, 7) == 0;
}

}  // namespace

extern "C" void* mmap(void* address, size_t bytes, int protection, int flags, int descriptor, off_t offset) noexcept {
  using Mmap = void* (*)(void*, size_t, int, int, int, off_t);
  static const Mmap real = reinterpret_cast<Mmap>(dlsym(RTLD_NEXT, "mmap"));
  void* mapped = real(address, bytes, protection, flags, descriptor, offset);
  const char* wait = std::getenv("DROVER_PAGE_MILLISECONDS");
  if (mapped == MAP_FAILED || descriptor < 0 || wait == nullptr || !is_shard(descriptor) || range_count == 64) return mapped;
  milliseconds = std::atol(wait);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
  if (bytes <= kPage) return mapped;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped);
  ranges[range_count] = {begin + kPage, (begin + bytes + kPage - 1) & ~(kPage - 1)};
  ++range_count;
  protect(begin + kPage, bytes - kPage, PROT_NONE);
  return mapped;
}
extern "C" void* mmap64(void* address, size_t bytes, int protection, int flags, int descriptor, off_t offset) noexcept {
  return mmap(address, bytes, protection, flags, descriptor, offset);
}
