#include "trainer/doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "configs/load.h"
#include "configs/validate.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "parallel/ring_sockets.h"
#include "trainer/checkpoint/store.h"
#include "trainer/preflight.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kDiskBytes = int64_t{128} << 20;
constexpr std::chrono::seconds kVisible{10};  // for a file to be seen on another host

int64_t most_checkpoints(const Config& config) {
  const int64_t every = config.checkpoint.every, all = every > 0 ? 1 + (config.train.steps + every - 1) / every : 1;
  return config.checkpoint.keep > 0 ? std::min(all, config.checkpoint.keep + 1) : all;  // the oldest goes after the newest is there
}

// A directory that is made for the measurements goes away again with the ones above it that were not there.
class Visit {
 public:
  explicit Visit(const fs::path& directory) {
    for (fs::path one = directory; !one.empty() && !fs::exists(one); one = one.parent_path()) missing_.push_back(one);
  }
  ~Visit() {
    std::error_code still_used;
    for (const fs::path& one : missing_) fs::remove(one, still_used);
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  std::vector<fs::path> missing_;
};

// True on every rank that sees the file which rank 0 makes.
bool sees_file_of_first(Communicator& world, const fs::path& directory, bool looks) {
  const fs::path sign = directory / fmt::format("doctor_sign_{}", world.gather_text(fmt::format("{}", getpid())).front());
  if (world.rank() == 0) write_durably(sign, "here\n");
  world.barrier();
  bool seen = !looks;
  for (const auto end = std::chrono::steady_clock::now() + kVisible; !seen && std::chrono::steady_clock::now() < end;) {
    seen = fs::exists(sign);
    if (!seen) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  world.barrier();
  if (world.rank() == 0) fs::remove(sign);
  return seen;
}

std::vector<Facts> gather(Communicator& world, const Facts& mine) {
  std::vector<Facts> ranks;
  for (const std::string& text : world.gather_text(nlohmann::json(mine).dump())) ranks.push_back(nlohmann::json::parse(text));
  return ranks;
}

int print(const std::vector<Check>& checks, const std::string& title) {
  fmt::print("{}", doctor_table(checks, title));
  std::fflush(stdout);
  return static_cast<int>(all_go(checks) ? ExitCode::done : ExitCode::hardware);
}

std::string title(const std::vector<Facts>& ranks) {
  std::vector<std::string> hosts;
  for (const int rank : first_ranks(ranks)) hosts.push_back(ranks[static_cast<size_t>(rank)].host);
  const size_t shown = std::min<size_t>(hosts.size(), 8);
  return fmt::format("drover doctor: {} rank{} on {} host{} ({}{})", ranks.size(), ranks.size() == 1 ? "" : "s", hosts.size(),
                     hosts.size() == 1 ? "" : "s",
                     fmt::join(hosts.begin(), hosts.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     hosts.size() > shown ? ", ..." : "");
}

}  // namespace

Needs doctor_needs(const DoctorRequest& request) {
  if (request.config.empty()) return {.directory = "runs"};
  LoadedConfig loaded = load_config(request.config, request.overrides);
  throw_if_any(loaded.violations);
  const ParallelConfig& p = loaded.config.parallel;
  throw_if_any(
      resolve_and_validate(loaded, std::max<int64_t>(1, p.dp) * p.tp * p.pp * p.cp));  // the ranks it is meant for, not these
  const Config& config = loaded.config;
  std::error_code unreadable;  // what is wrong with the directory, its own check says
  const bool any = fs::is_directory(fs::path(config.run.dir) / "checkpoints", unreadable);
  const int64_t there = any ? static_cast<int64_t>(list_checkpoints(config.run.dir).size()) : 0;
  return {config.run.dir, checkpoint_bytes(config), std::max<int64_t>(1, most_checkpoints(config) - there), there > 0,
          config.run.threads};
}

int examine_ranks(const DoctorRequest& request, const LauncherView& view) {
  const Needs needs = doctor_needs(request);
  Facts mine = local_facts(view, request.libraries);  // before MPI takes its part
  const Visit visit(needs.directory);
  World world(view);
  Communicator& all = world.all();
  std::vector<Facts> ranks = gather(all, mine);
  const std::vector<int> first = first_ranks(ranks);
  if (std::find(first.begin(), first.end(), view.rank) != first.end()) measure_disk(mine, needs.directory, kDiskBytes);
  all.barrier();
  const bool writable = all.gather_text(mine.disk_error).front().empty();
  if (writable) mine.same_directory = sees_file_of_first(all, needs.directory, mine.measured_disk);
  ranks = gather(all, mine);
  const Network network = measure_network(all, ranks);
  measure_clocks(all, ranks);
  std::string unheard;
  if (world.size() > 1) connect_ring(all, unheard);
  int code = 0;
  if (view.rank == 0) {
    std::vector<Check> checks = check_machine(ranks, needs);
    for (Check& check : check_together(ranks, network, unheard)) checks.push_back(std::move(check));
    code = print(checks, title(ranks));
  }
  return std::stoi(all.gather_text(std::to_string(code)).front());
}

int examine_without_mpi(const DoctorRequest& request, int ranks, const std::string& complaint) {
  const Needs needs = doctor_needs(request);
  const Visit visit(needs.directory);
  std::vector<Facts> facts;
  for (int rank = 0; rank < ranks; ++rank) {
    facts.push_back(local_facts({.rank = rank, .size = ranks, .local_rank = rank, .local_size = ranks}, request.libraries));
    if (rank == 0) measure_disk(facts.front(), needs.directory, kDiskBytes);
  }
  std::vector<Check> checks = check_machine(facts, needs);
  checks.push_back(
      {"MPI", false, complaint,
       "`launch/mpirun.sh -np 2 hostname`, with --hostfile where there are several hosts, must work; what it says is above"});
  return print(checks, fmt::format("drover doctor: this host alone ({}), as if it had all {} ranks", facts.front().host, ranks));
}

}  // namespace drover
