#include "trainer/doctor/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "trainer/console.h"

namespace drover {
namespace {

constexpr double kMB = 1e6, kGB = 1e9;
constexpr int64_t kSegment = int64_t{16} << 20;  // of /dev/shm, that OpenMPI's shared-memory transport takes a rank
constexpr int64_t kLeastLocked = 64'000;         // the kernel's own default for decades: less was set by somebody
constexpr int64_t kLeastFree = 1'000'000'000;    // bytes, where no configuration says what a checkpoint takes
constexpr double kLongestSave = 600;             // seconds that a checkpoint may take: a scheduler's grace is rarely longer
constexpr double kLargestLatency = 0.1;          // seconds; a model of 32 layers calls some two hundred collectives a step
constexpr double kLeastBandwidth = 10 * kMB;     // bytes/s between hosts: less is not the network one meant
constexpr double kLargestSkew = 1;               // seconds; file times and logs of the hosts are read together

std::string size_text(double bytes) {
  if (bytes < 0) return "unlimited";
  if (bytes >= 1000 * kGB) return fmt::format("{:.1f} TB", bytes / kGB / 1000);
  if (bytes >= kGB) return fmt::format("{:.1f} GB", bytes / kGB);
  return bytes >= kMB ? fmt::format("{:.0f} MB", bytes / kMB) : fmt::format("{:.0f} kB", bytes / 1e3);
}
std::string size_text(int64_t bytes) { return size_text(static_cast<double>(bytes)); }

std::string time_text(double seconds) {
  if (seconds >= 60) return duration_text(seconds);
  if (seconds >= 1) return fmt::format("{:.1f} s", seconds);
  return seconds >= 1e-3 ? fmt::format("{:.1f} ms", seconds * 1e3) : fmt::format("{:.1f} µs", seconds * 1e6);
}

using Ranks = std::vector<Facts>;

// By host, in the order of the first ranks.
std::vector<Ranks> by_host(const Ranks& ranks) {
  std::vector<Ranks> hosts;
  for (const int first : first_ranks(ranks)) {
    hosts.emplace_back();
    for (const Facts& one : ranks)
      if (one.host == ranks[static_cast<size_t>(first)].host) hosts.back().push_back(one);
  }
  return hosts;
}

bool less_limit(int64_t a, int64_t b) { return a >= 0 && (b < 0 || a < b); }  // -1: unlimited

// The rank with the smallest limit.
const Facts& worst(const Ranks& ranks, int64_t Facts::*limit) {
  return *std::min_element(ranks.begin(), ranks.end(),
                           [limit](const Facts& a, const Facts& b) { return less_limit(a.*limit, b.*limit); });
}

Check versions(const Ranks& ranks) {
  const Facts& first = ranks.front();
  Check check{"versions", true, fmt::format("{}; {}; {}; {}", first.build, first.libraries, first.instruction_set, first.kernel),
              "the same program and libraries on every host: build it once, on a file system that all see"};
  for (const Facts& one : ranks) {
    if (one.build == first.build && one.libraries == first.libraries) continue;
    check.go = false;
    check.measured =
        fmt::format("{}: {}; {}, but {}: {}; {}", one.host, one.build, one.libraries, first.host, first.build, first.libraries);
    break;
  }
  return check;
}

Check locked_memory(const Ranks& ranks) {
  const Facts& one = worst(ranks, &Facts::locked_memory);
  const bool rdma = std::any_of(ranks.begin(), ranks.end(), [](const Facts& rank) { return rank.rdma; });
  return {"locked memory", one.locked_memory < 0 || (!rdma && one.locked_memory >= kLeastLocked),
          fmt::format(
              "{} on {}; {}", size_text(one.locked_memory), one.host,
              rdma ? "its InfiniBand needs it unlimited" : fmt::format("no InfiniBand, {} are enough", size_text(kLeastLocked))),
          "`ulimit -l unlimited` before the start; for good, a line `* - memlock unlimited` in /etc/security/limits.conf (Slurm: "
          "LimitMEMLOCK=infinity of slurmd)"};
}

Check open_files(const Ranks& ranks) {
  const Facts& one = worst(ranks, &Facts::open_files);
  const auto here = std::count_if(ranks.begin(), ranks.end(), [&](const Facts& rank) { return rank.host == one.host; });
  const int64_t needed = 128 + 2 * static_cast<int64_t>(ranks.size()) + 16 * here;  // a connection a peer; mpirun's pipes
  return {"open files", !less_limit(one.open_files, needed),
          fmt::format("{} on {}; {} ranks need {}", one.open_files < 0 ? "unlimited" : std::to_string(one.open_files), one.host,
                      ranks.size(), needed),
          fmt::format("`ulimit -n {}` before the start; for good, a line `* - nofile 65536` in /etc/security/limits.conf",
                      std::max<int64_t>(65536, needed))};
}

Check shared_memory(const Ranks& ranks) {
  Check check{
      "shared memory", true, "",
      "a larger /dev/shm: `mount -o remount,size=8g /dev/shm` as root; in a container `docker run --shm-size=8g` or --ipc=host"};
  for (const Ranks& host : by_host(ranks)) {
    const int64_t needed = kSegment * static_cast<int64_t>(host.size()), free = host.front().shared_memory;
    if (!check.measured.empty() && free >= needed) continue;
    check.go = free >= needed;
    check.measured = fmt::format("{} free in /dev/shm on {}; {} ranks need {}", free < 0 ? "nothing" : size_text(free),
                                 host.front().host, host.size(), size_text(needed));
    if (!check.go) break;
  }
  return check;
}

std::string binding_text(const Ranks& host) {
  const size_t mask = host.front().cores.size();
  if (mask == static_cast<size_t>(host.front().online_cores)) return "not bound";
  return fmt::format("rank {} bound to {} of {}", host.front().rank, mask, host.front().online_cores);
}

Check cores(const Ranks& ranks, const Needs& needs) {
  Check check{"cores", true, "",
              "fewer ranks or threads a host; or all cores: no taskset or cpuset around the job, Slurm's --cpus-per-task, "
              "OMPI_MCA_hwloc_base_binding_policy=none"};
  for (const Ranks& host : by_host(ranks)) {
    std::set<int> all;
    for (const Facts& one : host) all.insert(one.cores.begin(), one.cores.end());
    const size_t local = host.size();
    const size_t threads = static_cast<size_t>(needs.threads > 0 ? needs.threads : host.front().own_cores);
    // One thread a rank can take turns; several wait for each other, many times slower.
    const bool crowded = threads > 1 && local * threads > all.size();
    const bool locked_in = all.size() < local && all.size() < static_cast<size_t>(host.front().online_cores);
    if (!check.measured.empty() && !crowded && !locked_in) continue;
    check.go = !crowded && !locked_in;
    check.measured = fmt::format("{} of {} cores on {} for {} ranks of {} thread{}, {}{}", all.size(), host.front().online_cores,
                                 host.front().host, local, threads, threads == 1 ? "" : "s", binding_text(host),
                                 check.go && local > all.size() ? "; they take turns" : "");
    if (!check.go) break;
  }
  return check;
}

Check disk(const Ranks& ranks, const Needs& needs) {
  Check check{"disk", true, "", fmt::format("another run.dir, one that every rank may write, than {}", needs.directory)};
  double rate = 0;
  const Facts* slowest = nullptr;
  for (const Facts& one : ranks) {
    if (!one.measured_disk) continue;
    if (!one.disk_error.empty()) return {check.name, false, fmt::format("{}: {}", one.host, one.disk_error), check.remedy};
    rate += one.write_rate;  // of all hosts at once, as they save
    if (slowest == nullptr || one.write_rate < slowest->write_rate) slowest = &one;
  }
  if (slowest == nullptr) return {check.name, false, "not measured", check.remedy};
  const double save = static_cast<double>(needs.checkpoint_bytes) / rate;
  check.measured = fmt::format("{} on {}: writes {}/s with fsync, reads {}/s", needs.directory, slowest->host,
                               size_text(slowest->write_rate), size_text(slowest->read_rate));
  if (needs.checkpoint_bytes > 0)
    check.measured += fmt::format("; a checkpoint of {} takes {}", size_text(needs.checkpoint_bytes), time_text(save));
  check.go = save <= kLongestSave;
  if (!check.go)
    check.remedy = fmt::format(
        "a faster file system as run.dir, or more hosts that write: a save that takes over {} outlasts the time "
        "that schedulers give a job to stop",
        time_text(kLongestSave));
  return check;
}

Check space(const Ranks& ranks, const Needs& needs) {
  const auto one = std::find_if(ranks.begin(), ranks.end(), [](const Facts& rank) { return rank.measured_disk; });
  if (one == ranks.end() || !one->disk_error.empty())
    return {"free space", true, "not measured: run.dir cannot be written (above)", ""};
  const int64_t free = one->free_space;
  const int64_t needed = needs.checkpoint_bytes > 0 ? needs.checkpoint_bytes * needs.checkpoints : kLeastFree;
  const std::string what =
      needs.checkpoint_bytes > 0
          ? fmt::format("{} {}checkpoint{} of {} need {}", needs.checkpoints, needs.more ? "more " : "",
                        needs.checkpoints == 1 ? "" : "s", size_text(needs.checkpoint_bytes), size_text(needed))
          : fmt::format("no configuration was given, {} are asked for", size_text(needed));
  return {"free space", free >= needed, fmt::format("{} in {}; {}", size_text(free), needs.directory, what),
          "free some, set run.dir to a larger file system, or keep fewer checkpoints (checkpoint.keep)"};
}

Check same_directory(const Ranks& ranks) {
  Check check{"shared directory", true, "every host sees rank 0's run directory",
              "a run.dir on a file system that all hosts share: each rank writes its part of a checkpoint there"};
  for (const Facts& one : ranks) {
    if (one.same_directory) continue;
    check.go = false;
    check.measured = fmt::format("{} does not see what {} wrote into the run directory", one.host, ranks.front().host);
    break;
  }
  return check;
}

Check clocks(const Ranks& ranks) {
  // Of a host that is not rank 0's, whose clock is the measure.
  const Facts& one = *std::max_element(ranks.begin(), ranks.end(), [&](const Facts& a, const Facts& b) {
    const bool a_first = a.host == ranks.front().host, b_first = b.host == ranks.front().host;
    return a_first != b_first ? a_first : std::abs(a.clock_ahead) < std::abs(b.clock_ahead);
  });
  return {"clocks", std::abs(one.clock_ahead) <= kLargestSkew + one.clock_uncertainty,
          fmt::format("{} is {} {} {} (± {})", one.host, time_text(std::abs(one.clock_ahead)),
                      one.clock_ahead < 0 ? "behind" : "ahead of", ranks.front().host, time_text(one.clock_uncertainty)),
          "a time service on every host: chrony, ntpd or systemd-timesyncd"};
}

Check mpi(const Ranks& ranks, const Network& network) {
  return {
      "MPI", network.works && network.small_seconds <= kLargestLatency,
      fmt::format("{} over {} ranks: 8 bytes in {}, {} in {} ({}/s)", network.works ? "all-reduce" : "a sum came out wrong",
                  ranks.size(), time_text(network.small_seconds), size_text(network.large_bytes), time_text(network.large_seconds),
                  size_text(network.large_bytes / network.large_seconds)),
      "fewer ranks a core, or `mpirun -np 2 --mca btl self,tcp` and `--mca btl self,vader` to tell which transport is at fault"};
}

Check links(const Network& network) {
  const Network::Link& slow =
      *std::min_element(network.links.begin(), network.links.end(),
                        [](const Network::Link& a, const Network::Link& b) { return a.bandwidth < b.bandwidth; });
  const Network::Link& late =
      *std::max_element(network.links.begin(), network.links.end(),
                        [](const Network::Link& a, const Network::Link& b) { return a.latency < b.latency; });
  return {"network", slow.bandwidth >= kLeastBandwidth && late.latency <= kLargestLatency,
          fmt::format("slowest {} to {}: {}/s; latest {} to {}: {}", slow.from, slow.to, size_text(slow.bandwidth), late.from,
                      late.to, time_text(late.latency)),
          "the interface meant for it: OMPI_MCA_btl_tcp_if_include=NAME_OR_NET (`ip address` lists them), cables and switch ports "
          "of these "
          "hosts"};
}

Check heartbeat(const std::string& unheard) {
  return {
      "heartbeat", unheard.empty(), unheard.empty() ? "every rank reaches the next by TCP outside MPI" : unheard,
      "open ports between the hosts (TCP over IPv4); or run.heartbeat_seconds=0, and a host that is cut off is waited for forever"};
}

}  // namespace

std::vector<Check> check_machine(const Ranks& ranks, const Needs& needs) {
  return {versions(ranks),     locked_memory(ranks), open_files(ranks),  shared_memory(ranks),
          cores(ranks, needs), disk(ranks, needs),   space(ranks, needs)};
}

std::vector<Check> check_together(const Ranks& ranks, const Network& network, const std::string& unheard) {
  std::vector<Check> checks{mpi(ranks, network)};
  if (ranks.size() > 1) checks.push_back(heartbeat(unheard));
  if (network.links.empty()) return checks;
  for (Check& check : std::vector<Check>{links(network), same_directory(ranks), clocks(ranks)}) checks.push_back(check);
  return checks;
}

bool all_go(const std::vector<Check>& checks) {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.go; });
}

std::string doctor_table(const std::vector<Check>& checks, const std::string& title) {
  std::string text = title + "\n", failed;
  for (const Check& check : checks) {
    text += fmt::format("  {:<5}  {:<16}  {}\n", check.go ? "go" : "NO-GO", check.name, check.measured);
    if (check.go) continue;
    text += fmt::format("{:27}{}\n", "", "remedy: " + check.remedy);
    failed += (failed.empty() ? "" : ", ") + check.name;
  }
  return text + (failed.empty() ? "go" : "no-go: " + failed) + "\n";
}

}  // namespace drover
