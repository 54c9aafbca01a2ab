// Two hosts on one machine: namespaces for network, host name, IPC and mounts, joined by a virtual cable. Each has a /dev/shm of its own, in
// which OpenMPI keeps its session directory too; the other files are shared, as on a cluster. What a test mounts on one host, only that host
// sees. Needs root, nsenter and ip.
#pragma once
#include <array>

#include "tests/end_to_end/run_drover.h"

namespace drover::testing {

class TwoHosts {
 public:
  static constexpr std::array<const char*, 2> kNames{"hosta", "hostb"};

  // Empty where hosts can be made, else why not.
  static std::string missing();

  // Writes "hostfile" with `slots` for each host to the sandbox. REQUIRES: missing() is empty.
  explicit TwoHosts(const Sandbox& sandbox, int slots = 2);
  ~TwoHosts();  // ends every process that still runs on them
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;

  // What runs `command` on a host, in the sandbox; on the first one with a stand-in for ssh; there with launch/mpirun.sh and the hostfile.
  std::vector<std::string> on_host(int host, const std::vector<std::string>& command) const;
  std::vector<std::string> on_first(const std::vector<std::string>& command) const;
  std::vector<std::string> on_ranks(int ranks, const std::vector<std::string>& arguments) const;  // drover's

  void require(int host, const std::vector<std::string>& command) const;  // throws when it fails
  void mount_over(int host, const std::filesystem::path& source, const std::filesystem::path& target) const;
  void hide(int host, const std::filesystem::path& directory) const;  // it is there, and empty
  void cut_cable() const;
  void rejoin_cable() const;

  std::vector<pid_t> processes(int host, const std::string& executable) const;

 private:
  void start_host(size_t host);

  std::filesystem::path sandbox_;
  std::array<pid_t, 2> keeper_{-1, -1};  // the process that keeps a host's namespaces
};

}  // namespace drover::testing
