#include "trainer/gpu_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "kernels/base/host.h"
#include "kernels/base/words.h"
#include "kernels/cuda/device.h"

namespace drover {
namespace {

std::string first_word_of(const std::string& path, const std::string& otherwise) {
  std::ifstream file(path);
  std::string word;
  return file >> word ? word : otherwise;
}

struct Host {
  std::string name;
  std::vector<size_t> ranks;
};

// In the order of their first ranks.
std::vector<Host> hosts_of(const std::vector<RankGpu>& gpus) {
  std::vector<Host> hosts;
  std::map<std::string, size_t> known;
  for (size_t rank = 0; rank < gpus.size(); ++rank) {
    const auto [found, added] = known.insert({gpus[rank].host + " " + gpus[rank].machine, hosts.size()});
    if (added) hosts.push_back({gpus[rank].host, {}});
    hosts[found->second].ranks.push_back(rank);
  }
  return hosts;
}

std::string ranks_text(const std::vector<size_t>& ranks) {
  constexpr size_t kShown = 8;
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  if (ranks.back() - ranks.front() + 1 == ranks.size()) return fmt::format("ranks {} to {}", ranks.front(), ranks.back());
  const std::vector<size_t> shown(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(std::min(ranks.size(), kShown)));
  return fmt::format("ranks {}{}", fmt::join(shown, ", "),
                     ranks.size() > kShown ? fmt::format(" and {} more", ranks.size() - kShown) : "");
}

// The GPUs of one host in the order of its ranks: "NUMA node 0: 0000:18:00.0, 0000:2a:00.0 twice; NUMA node 1: 0000:9a:00.0".
std::string gpus_text(const std::vector<RankGpu>& gpus, const Host& host) {
  std::string text;
  for (size_t i = 0; i < host.ranks.size();) {
    const RankGpu& gpu = gpus[host.ranks[i]];
    const bool same_node = i > 0 && gpus[host.ranks[i - 1]].numa_node == gpu.numa_node;
    size_t times = 1;
    while (i + times < host.ranks.size() && gpus[host.ranks[i + times]].bus_id == gpu.bus_id) ++times;
    if (!same_node) {
      if (i > 0) text += "; ";
      text += gpu.numa_node < 0 ? "NUMA node unknown: " : fmt::format("NUMA node {}: ", gpu.numa_node);
    }
    text += (same_node ? ", " : "") + gpu.bus_id + (times > 1 ? fmt::format(" for {} ranks", times) : "");
    i += times;
  }
  return text;
}

}  // namespace

std::vector<RankGpu> gather_gpus(Communicator& world, int device) {
  const std::string bus_id = cuda::pci_bus_id(device);
  const std::string mine = fmt::format("{} {} {} {}", host_name(), first_word_of("/proc/sys/kernel/random/boot_id", "unknown"),
                                       bus_id, first_word_of("/sys/bus/pci/devices/" + bus_id + "/numa_node", "-1"));
  std::vector<RankGpu> gpus;
  for (const std::string& text : world.gather_text(mine)) {
    RankGpu& gpu = gpus.emplace_back();
    std::istringstream(text) >> gpu.host >> gpu.machine >> gpu.bus_id >> gpu.numa_node;
  }
  return gpus;
}

std::string crowded_gpu(const std::vector<RankGpu>& gpus, int64_t ranks_per_gpu) {
  for (const Host& host : hosts_of(gpus)) {
    std::map<std::string, std::vector<size_t>> by_gpu;
    for (const size_t rank : host.ranks) by_gpu[gpus[rank].bus_id].push_back(rank);
    for (const auto& [bus_id, ranks] : by_gpu)
      if (static_cast<int64_t>(ranks.size()) > ranks_per_gpu)
        return fmt::format(
            "{} on {} have the same GPU, {}: run.ranks_per_gpu is {}. One rank a GPU, as CUDA_VISIBLE_DEVICES or Slurm's "
            "--gpus-per-task give them, or `run.ranks_per_gpu: {}` to let them share it",
            ranks_text(ranks), host.name, bus_id, ranks_per_gpu, ranks.size());
  }
  return "";
}

std::vector<std::string> gpu_map(const std::vector<RankGpu>& gpus) {
  constexpr size_t kLines = 16;
  std::vector<std::pair<std::string, std::vector<Host>>> alike;
  for (const Host& host : hosts_of(gpus)) {
    const std::string text = gpus_text(gpus, host);
    auto found = std::find_if(alike.begin(), alike.end(), [&](const auto& group) { return group.first == text; });
    if (found == alike.end()) found = alike.insert(alike.end(), {text, {}});
    found->second.push_back(host);
  }
  std::vector<std::string> lines;
  size_t left_out = 0;
  for (const auto& [text, hosts] : alike) {
    const auto named = [](const Host& host) { return fmt::format("{} ({})", host.name, ranks_text(host.ranks)); };
    if (lines.size() == kLines)
      left_out += hosts.size();
    else if (hosts.size() == 1)
      lines.push_back(fmt::format("gpus    {}: {}", named(hosts[0]), text));
    else
      lines.push_back(fmt::format("gpus    {} from {} to {}: {} on each", counted(hosts.size(), "host"), named(hosts.front()),
                                  named(hosts.back()), text));
  }
  if (left_out > 0) lines.push_back(fmt::format("gpus    {} more, of other addresses", counted(left_out, "host")));
  return lines;
}

}  // namespace drover
