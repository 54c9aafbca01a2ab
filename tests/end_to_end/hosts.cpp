#include "tests/end_to_end/hosts.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <stdexcept>

namespace drover::testing {
namespace {

namespace fs = std::filesystem;
constexpr int kNamespaces = CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS;

// In the new host: everything that OpenMPI takes for a sign of "the same machine" differs, and the sandbox is still there.
bool become_host(const char* name, const fs::path& sandbox) {
  if (unshare(kNamespaces) != 0 || sethostname(name, std::strlen(name)) != 0) return false;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  const int shared = open(sandbox.c_str(), O_PATH | O_CLOEXEC);
  if (mount("none", "/dev/shm", "tmpfs", 0, "size=1g") != 0) return false;
  if (fs::exists(sandbox)) return true;
  const std::string source = "/proc/self/fd/" + std::to_string(shared);
  return fs::create_directories(sandbox) && mount(source.c_str(), sandbox.c_str(), nullptr, MS_BIND, nullptr) == 0;
}

pid_t keep_host(const char* name, const fs::path& sandbox) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (become_host(name, sandbox) && write(ready[1], "+", 1) == 1)
      while (true) pause();
    _exit(1);
  }
  close(ready[1]);
  char answer = 0;
  const bool made = read(ready[0], &answer, 1) == 1;
  close(ready[0]);
  if (made) return child;
  waitpid(child, nullptr, 0);
  return -1;
}

void end_host(pid_t keeper) {
  kill(keeper, SIGKILL);
  waitpid(keeper, nullptr, 0);
}

std::string network_of(const std::string& pid) {
  std::error_code gone;
  return fs::read_symlink("/proc/" + pid + "/ns/net", gone);
}

std::vector<pid_t> on_network(pid_t keeper) {
  std::vector<pid_t> found;
  const std::string network = network_of(std::to_string(keeper));
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") == std::string::npos && network_of(pid) == network && std::stol(pid) != keeper)
      found.push_back(static_cast<pid_t>(std::stol(pid)));
  }
  return found;
}

}  // namespace

std::string TwoHosts::missing() {
  for (const char* tool : {"nsenter", "ip"})
    if (run_command({"sh", "-c", std::string("command -v ") + tool}, "/").code != 0)
      return std::string("needs the program ") + tool;
  const pid_t keeper = keep_host("trial", "/");
  if (keeper < 0) return "needs root, to make network and mount namespaces";
  const bool cable = run_command({"ip", "link", "add", "trial", "netns", std::to_string(keeper), "type", "veth"}, "/").code == 0;
  end_host(keeper);
  return cable ? "" : "needs virtual network cables (veth) in the kernel";
}

TwoHosts::TwoHosts(const Sandbox& sandbox, int slots) : sandbox_(sandbox.path()) {
  fs::create_directory(sandbox_ / "hosts");
  std::ofstream hostfile(sandbox_ / "hostfile");
  for (size_t host = 0; host < 2; ++host) {
    start_host(host);
    hostfile << kNames[host] << " slots=" << slots << "\n";
  }
  require(0, {"ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", std::to_string(keeper_[1])});
  for (const int host : {0, 1}) {
    require(host, {"ip", "address", "add", "10.77.0." + std::to_string(host + 1) + "/24", "dev", "cable"});
    require(host, {"ip", "link", "set", "lo", "up"});
    require(host, {"ip", "link", "set", "cable", "up"});
  }
}

TwoHosts::~TwoHosts() {
  for (const pid_t keeper : keeper_) {
    for (const pid_t pid : on_network(keeper)) kill(pid, SIGKILL);
    end_host(keeper);
  }
}

void TwoHosts::start_host(size_t host) {
  keeper_[host] = keep_host(kNames[host], sandbox_);
  if (keeper_[host] < 0) throw std::runtime_error(std::string("cannot make ") + kNames[host]);
  std::ofstream(sandbox_ / "hosts" / kNames[host]) << keeper_[host];
}

std::vector<std::string> TwoHosts::on_host(int host, const std::vector<std::string>& command) const {
  // nsenter's own option for the working directory means the one outside.
  std::vector<std::string> all{"nsenter",
                               "-t",
                               std::to_string(keeper_[static_cast<size_t>(host)]),
                               "-n",
                               "-u",
                               "-i",
                               "-m",
                               "sh",
                               "-c",
                               "cd \"$0\" && exec \"$@\"",
                               sandbox_};
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

std::vector<std::string> TwoHosts::on_first(const std::vector<std::string>& command) const {
  std::vector<std::string> all{"env", "TMPDIR=/dev/shm", "DROVER_TEST_HOSTS=" + (sandbox_ / "hosts").string(),
                               std::string("OMPI_MCA_plm_rsh_agent=") + DROVER_SOURCE_DIR + "/tests/end_to_end/enter_host",
                               "OMPI_MCA_mpi_yield_when_idle=1"};  // the hosts have the same cores
  all.insert(all.end(), command.begin(), command.end());
  return on_host(0, all);
}

std::vector<std::string> TwoHosts::on_ranks(int ranks, const std::vector<std::string>& arguments) const {
  std::vector<std::string> command{mpirun_script(), "-np", std::to_string(ranks), "--hostfile", "hostfile", drover_program()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return on_first(command);
}

void TwoHosts::require(int host, const std::vector<std::string>& command) const {
  const Outcome outcome = run_command(on_host(host, command), "/");
  if (outcome.code != 0)
    throw std::runtime_error(command.front() + " on " + kNames[static_cast<size_t>(host)] + ": " + outcome.output);
}

void TwoHosts::mount_over(int host, const fs::path& source, const fs::path& target) const {
  require(host, {"mount", "--bind", source, target});
}
void TwoHosts::hide(int host, const fs::path& directory) const { require(host, {"mount", "-t", "tmpfs", "none", directory}); }
void TwoHosts::cut_cable() const { require(1, {"ip", "link", "set", "cable", "down"}); }
void TwoHosts::rejoin_cable() const { require(1, {"ip", "link", "set", "cable", "up"}); }

std::vector<pid_t> TwoHosts::processes(int host, const std::string& executable) const {
  std::vector<pid_t> found;
  for (const pid_t pid : on_network(keeper_[static_cast<size_t>(host)])) {
    std::error_code gone;
    if (fs::read_symlink("/proc/" + std::to_string(pid) + "/exe", gone).filename() == executable) found.push_back(pid);
  }
  return found;
}

}  // namespace drover::testing
