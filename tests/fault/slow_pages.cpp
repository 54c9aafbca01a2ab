// A disk that takes its time or fails, as a preloaded library. Every page of a *.tokens file that is read keeps the reader waiting for
// DROVER_PAGE_MILLISECONDS, again and again, but the first page, whose header is read before training; and while the file
// DROVER_FAILING_READS is there, such reads end with EIO.
#include <dlfcn.h>
#include <errno.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace {

constexpr off_t kPage = 4096;

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

extern "C" ssize_t pread(int descriptor, void* data, size_t bytes, off_t offset) {
  using Pread = ssize_t (*)(int, void*, size_t, off_t);
  static const Pread real = reinterpret_cast<Pread>(dlsym(RTLD_NEXT, "pread"));
  const off_t end = offset + static_cast<off_t>(bytes);
  if (end <= kPage || !is_shard(descriptor)) return real(descriptor, data, bytes, offset);
  const char* failing = std::getenv("DROVER_FAILING_READS");
  if (failing != nullptr && access(failing, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  const char* wait = std::getenv("DROVER_PAGE_MILLISECONDS");
  if (wait != nullptr) {
    const off_t first = offset < kPage ? 1 : offset / kPage, pages = (end - 1) / kPage - first + 1;
    const long milliseconds = std::atol(wait) * pages;
    timespec left{milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
  }
  return real(descriptor, data, bytes, offset);
}
extern "C" ssize_t pread64(int descriptor, void* data, size_t bytes, off_t offset) {
  return pread(descriptor, data, bytes, offset);
}
