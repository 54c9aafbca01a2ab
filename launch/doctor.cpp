#include "trainer/doctor/doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <sstream>

#include "kernels/base/threads.h"
#include "launch/commands.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// The ranks that each host of a hostfile takes. launch/mpirun.sh says what is wrong with a line.
std::vector<int> slots_of(const std::string& hostfile) {
  std::ifstream file(hostfile);
  if (!file) throw Error(ExitCode::config, "hostfile " + hostfile + " cannot be read; a line a host: HOST slots=RANKS");
  std::vector<int> slots;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string host, word;
    if (!(words >> host)) continue;
    words >> word;
    slots.push_back(word.starts_with("slots=") ? std::max(1, std::atoi(word.c_str() + 6)) : 1);
  }
  if (slots.empty()) throw Error(ExitCode::config, "hostfile " + hostfile + " names no host; a line a host: HOST slots=RANKS");
  return slots;
}

// As many as asked for; else one for each slot of the hosts, or each task of the Slurm job that this is called in, or each core of this host.
int ranks_to_start(const DoctorOptions& options) {
  if (!options.hostfile.empty()) {
    const std::vector<int> slots = slots_of(options.hostfile);
    const int all = std::accumulate(slots.begin(), slots.end(), 0), least = all - slots.back() + 1;
    // Ranks fill one host after the other: a host that no rank looks at would pass.
    if (options.ranks > 0 && options.ranks < least)
      throw Error(ExitCode::config, fmt::format("--ranks {} does not reach the last of the {} hosts of {}: at least {}",
                                                options.ranks, slots.size(), options.hostfile, least));
    return options.ranks > 0 ? options.ranks : all;
  }
  if (options.ranks > 0) return options.ranks;
  const char* tasks = std::getenv("SLURM_NTASKS");
  return tasks != nullptr && std::atoi(tasks) > 0 ? std::atoi(tasks) : std::clamp(available_cores(), 2, 8);
}

// launch/mpirun.sh of the source tree that this program was built in; empty where it is not in one.
fs::path launcher_script(const fs::path& program) {
  for (fs::path folder = program.parent_path(); folder.has_relative_path(); folder = folder.parent_path())
    if (fs::exists(folder / "launch" / "mpirun.sh")) return folder / "launch" / "mpirun.sh";
  return {};
}

struct Outcome {
  int code = -1;  // -1: it took too long and was ended
  std::string output, errors;
};

class Child {
 public:
  explicit Child(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) throw Error(ExitCode::hardware, "no more files can be opened");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    close(out[1]);
    close(err[1]);
    ends_ = {out[0], err[0]};
  }
  ~Child() {
    for (const int end : ends_)
      if (end >= 0) close(end);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  Outcome wait(int limit_seconds) {
    Outcome outcome;
    Clock::time_point end = Clock::now() + std::chrono::seconds(limit_seconds);
    int signals = 0;
    while (read_some({&outcome.output, &outcome.errors})) {
      if (Clock::now() < end) continue;
      // The first asks, the second ends the job, the third kills it (launch/mpirun.sh).
      if (++signals > 3) break;
      kill(pid_, SIGTERM);
      end = Clock::now() + std::chrono::seconds(5);
    }
    int status = 0;
    if (signals > 3) kill(pid_, SIGKILL);
    waitpid(pid_, &status, 0);
    if (signals == 0) outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
  }

 private:
  // False once both outputs have ended.
  bool read_some(std::array<std::string*, 2> texts) {
    pollfd ready[] = {{ends_[0], POLLIN, 0}, {ends_[1], POLLIN, 0}};
    poll(ready, 2, 500);
    for (size_t i = 0; i < 2; ++i) {
      if (ready[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = read(ends_[i], buffer, sizeof buffer);
      if (got > 0) {
        texts[i]->append(buffer, static_cast<size_t>(got));
        continue;
      }
      close(ends_[i]);
      ends_[i] = -1;
    }
    return ends_[0] >= 0 || ends_[1] >= 0;
  }

  pid_t pid_ = -1;
  std::array<int, 2> ends_{-1, -1};
};

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

int doctor_command(const TrainRequest& request, const DoctorOptions& options) {
  const DoctorRequest doctor{request.config, request.overrides, library_versions()};
  const LauncherView view = launcher_view();
  if (view.launcher != "none") return examine_ranks(doctor, view);
  doctor_needs(doctor);  // a configuration that does not load is no matter of the machine
  const int ranks = ranks_to_start(options);
  const fs::path program = fs::read_symlink("/proc/self/exe"), script = launcher_script(program);
  if (script.empty())
    return examine_without_mpi(doctor, ranks,
                               fmt::format("launch/mpirun.sh is not found above {}: start it with `mpirun.sh -np {} {} doctor`",
                                           program.parent_path().string(), ranks, program.string()));
  std::vector<std::string> command{script, "-np", std::to_string(ranks)};
  if (!options.hostfile.empty()) command.insert(command.end(), {"--hostfile", options.hostfile});
  command.insert(command.end(), {program, "doctor"});
  if (!request.config.empty()) command.push_back(request.config);
  for (const std::string& text : request.overrides) command.insert(command.end(), {"--set", text});
  const Outcome outcome = Child(command).wait(options.limit_seconds);
  if (outcome.output.find("\ngo\n") != std::string::npos || outcome.output.find("\nno-go: ") != std::string::npos) {
    fmt::print("{}", outcome.output);
    return outcome.code;
  }
  if (outcome.code == static_cast<int>(ExitCode::config)) throw Error(ExitCode::config, last_line(outcome.errors));
  fmt::print(stderr, "{}", outcome.errors);
  return examine_without_mpi(doctor, ranks,
                             outcome.code == -1 ? fmt::format("{} rank{} did not answer within {} s (--limit)", ranks,
                                                              ranks == 1 ? "" : "s", options.limit_seconds)
                                                : last_line(outcome.errors));
}

}  // namespace drover
