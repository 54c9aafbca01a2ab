#include "trainer/doctor/facts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "kernels/base/hash.h"
#include "kernels/base/host.h"
#include "kernels/base/philox.h"
#include "kernels/base/threads.h"
#include "kernels/base/timed.h"
#include "trainer/build_info.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
constexpr size_t kBlock = 1 << 20;

int64_t soft_limit(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return -1;
  return static_cast<int64_t>(limit.rlim_cur);
}

bool has_entries(const fs::path& directory) {
  std::error_code missing;
  return fs::directory_iterator(directory, missing) != fs::directory_iterator();
}

// A file system that packs or finds equal blocks must not look faster than it is.
std::vector<uint32_t> noise() {
  std::vector<uint32_t> block(kBlock / sizeof(uint32_t));
  for (size_t i = 0; i < block.size(); i += 4) {
    const auto draw = philox4x32(static_cast<uint64_t>(getpid()), i, 0);
    std::copy(draw.begin(), draw.end(), block.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return block;
}

void write_and_read(Facts& facts, const fs::path& path, int64_t blocks) {
  std::vector<uint32_t> block = noise();
  File file = File::create(path);
  Xxh3Stream written, found;
  double writing = 0, reading = 0;
  {
    const Timed timed(writing);
    for (int64_t i = 0; i < blocks; ++i) {
      block[0] = static_cast<uint32_t>(i);
      written.update(block.data(), kBlock);
      file.write_at(i * static_cast<int64_t>(kBlock), block.data(), kBlock);
    }
    file.sync();
  }
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  {
    const Timed timed(reading);
    for (int64_t i = 0; i < blocks; ++i) {
      file.read_at(i * static_cast<int64_t>(kBlock), block.data(), kBlock);
      found.update(block.data(), kBlock);
    }
  }
  const double bytes = static_cast<double>(blocks) * static_cast<double>(kBlock);
  facts.write_rate = bytes / writing;
  facts.read_rate = bytes / reading;
  if (written.digest() != found.digest()) facts.disk_error = path.string() + " reads back other bytes than were written";
}

}  // namespace

Facts local_facts(const LauncherView& view, const std::string& libraries) {
  Facts facts{
      .rank = view.rank, .host = host_name(), .build = build_id(), .libraries = libraries, .instruction_set = instruction_set()};
  utsname system{};
  uname(&system);
  facts.kernel = fmt::format("{} {}", system.sysname, system.release);
  facts.locked_memory = soft_limit(RLIMIT_MEMLOCK);
  facts.open_files = soft_limit(RLIMIT_NOFILE);
  facts.rdma = has_entries("/sys/class/infiniband");
  facts.shared_memory = free_space("/dev/shm");
  facts.online_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  facts.own_cores = cores_of_rank(view);
  facts.cores = affinity_mask();
  return facts;
}

void measure_disk(Facts& facts, const fs::path& directory, int64_t bytes) {
  facts.measured_disk = true;
  const fs::path path = directory / fmt::format("doctor_{}_{}", facts.host, facts.rank);
  try {
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) throw Error(ExitCode::storage, fmt::format("cannot make {}: {}", directory.string(), error.message()));
    facts.free_space = free_space(directory);
    write_and_read(facts, path, std::max<int64_t>(1, std::min(bytes, facts.free_space / 4) / static_cast<int64_t>(kBlock)));
  } catch (const Error& error) {
    facts.disk_error = error.what();
  }
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace drover
