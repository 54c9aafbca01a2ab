#include "trainer/memory_limit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <optional>
#include <tuple>

#include "configs/validate.h"
#include "kernels/base/error.h"
#include "kernels/base/words.h"
#include "kernels/cuda/device.h"
#include "trainer/device.h"
#include "trainer/graph_memory.h"
#include "trainer/memory_table.h"

namespace drover {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kContext = kGiB, kNcclGroup = kGiB / 4;

// 0 where the system does not tell.
int64_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) return 1024 * std::stoll(line.substr(13));
  return 0;
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(kGiB); }

// Of the worst rank on its device (run.device), outside the arenas included.
int64_t bytes_needed(const Config& config, const Mesh& mesh) {
  return worst_rank(config, mesh).memory.used() + bytes_outside_arenas(config, mesh);
}

class Search {
 public:
  Search(const Config& config, int64_t ranks, int64_t limit) : config_(config), ranks_(ranks), limit_(limit) {}

  std::vector<Fit> run() {
    const bool recompute_is_enough = add(with_recompute(config_)), micro_batch_is_enough = add(smaller_micro_batch(config_));
    if (!recompute_is_enough && !micro_batch_is_enough) add(smaller_micro_batch(recomputed()));
    add(another_layout());
    return std::move(fits_);
  }

 private:
  using Found = std::optional<Config>;

  bool add(const Found& found) {
    if (!found) return false;
    std::string settings;
    for (const ConfigDifference& difference : diff(config_, *found))
      settings += fmt::format("{}{}={}", settings.empty() ? "" : " ", difference.key, difference.after);
    fits_.push_back({settings, bytes_needed(*found, Mesh(found->parallel))});
    return true;
  }

  Config recomputed() const {
    Config config = config_;
    config.train.recompute = Recompute::block;
    return config;
  }

  Found fitting(const Config& candidate) const {
    LoadedConfig loaded{.config = candidate};
    if (!resolve_and_validate(loaded, ranks_).empty()) return {};
    if (bytes_needed(loaded.config, Mesh(loaded.config.parallel)) > limit_) return {};
    return loaded.config;
  }

  Found with_recompute(const Config& config) const {
    return config.train.recompute == Recompute::block ? Found{} : fitting(recomputed());
  }

  Found smaller_micro_batch(Config config) const {
    while (--config.train.micro_batch > 0)
      if (Found found = fitting(config)) return found;
    return {};
  }

  // The axis sizes nearest to the ones asked for, by powers of two that they differ by; the rest as it was, else with recompute and a
  // micro-batch of 1.
  Found another_layout() const {
    struct Layout {
      double distance;
      int64_t tp, pp;
      auto key() const { return std::tuple(distance, pp, tp); }
    };
    std::vector<Layout> layouts;
    const ParallelConfig& now = config_.parallel;
    for (int64_t tp = 1; tp <= std::min(ranks_, config_.model.heads); ++tp)
      for (int64_t pp = 1; pp <= std::min(ranks_ / tp, config_.model.layers); ++pp) {
        const bool same = tp == now.tp && pp == now.pp;
        if (same || ranks_ % (tp * pp) != 0 || config_.model.heads % tp != 0) continue;
        const auto distance = [](int64_t a, int64_t b) {
          return std::abs(std::log2(static_cast<double>(a)) - std::log2(static_cast<double>(b)));
        };
        layouts.push_back({distance(tp, now.tp) + distance(pp, now.pp), tp, pp});
      }
    std::sort(layouts.begin(), layouts.end(), [](const Layout& a, const Layout& b) { return a.key() < b.key(); });
    for (const bool small : {false, true})
      for (const Layout& layout : layouts) {
        Config config = small ? recomputed() : config_;
        if (small) config.train.micro_batch = 1;
        config.parallel.tp = layout.tp;
        config.parallel.pp = layout.pp;
        config.parallel.dp = ranks_ / (layout.tp * layout.pp);
        if (Found found = fitting(config)) return found;
      }
    return {};
  }

  const Config& config_;
  int64_t ranks_, limit_;
  std::vector<Fit> fits_;
};

std::string nearest_fits(const Config& config, const Mesh& mesh, int64_t limit) {
  const std::vector<Fit> fits = settings_that_fit(config, mesh.size(), limit);
  if (fits.empty())
    return "; neither train.recompute=block nor a smaller train.micro_batch nor another layout of as many ranks fits: more ranks, "
           "or a "
           "shorter train.sequence, need less";
  std::string text = "; these fit:";
  for (const Fit& fit : fits) text += fmt::format("\n  {}  ({:.1f} GiB)", fit.settings, gib(fit.bytes));
  return text;
}

void require_gpu_bytes(const Config& config, const Mesh& mesh, int64_t allowed, const std::string& why) {
  const int64_t needed = bytes_needed(config, mesh);
  if (needed <= allowed) return;
  throw Error(ExitCode::memory,
              fmt::format("a rank may need up to {:.1f} GiB of its GPU ({:.1f} GiB outside the planned tensors), {}{}", gib(needed),
                          gib(bytes_outside_arenas(config, mesh)), why, nearest_fits(config, mesh, allowed)));
}

}  // namespace

int64_t bytes_outside_arenas(const Config& config, const Mesh& mesh) {
  if (device_type(config) == DeviceType::cpu) return 0;
  const bool by_host = config.run.communication == "host" || (config.run.communication == "auto" && config.run.ranks_per_gpu > 1);
  const int64_t beside_groups = kContext + graph_bytes(config, mesh);
  if (by_host) return beside_groups;
  int groups = mesh.size() > 1 ? 1 : 0;
  for (const Axis axis : {Axis::tp, Axis::pp, Axis::dp_shard, Axis::dp_replicate}) groups += mesh.size(axis) > 1;
  groups += config.model.tied_embeddings && mesh.size(Axis::pp) > 1;
  return beside_groups + groups * kNcclGroup;
}

std::vector<Fit> settings_that_fit(const Config& config, int64_t ranks, int64_t limit) {
  return Search(config, ranks, limit).run();
}

void require_memory(const Config& config, const Mesh& mesh, int local_ranks) {
  const int64_t needed = bytes_needed(config, mesh), available = available_bytes();
  if (available == 0 || needed * local_ranks <= available) return;
  throw Error(ExitCode::memory,
              fmt::format("{} on this host may need up to {:.1f} GiB of tensor memory each ({:.1f} GiB together), {:.1f} GiB are "
                          "available{}",
                          counted(local_ranks, "rank"), gib(needed), gib(needed * local_ranks), gib(available),
                          nearest_fits(config, mesh, available / local_ranks)));
}

void require_device_memory(const Config& config, const Mesh& mesh, Device device) {
  const int64_t free = cuda::memory_of(device.index).free / config.run.ranks_per_gpu;
  require_gpu_bytes(config, mesh, free, fmt::format("{:.1f} GiB are free for it ({})", gib(free), cuda::device_name(device.index)));
  require_allowed_memory(config, mesh);
}

void require_allowed_memory(const Config& config, const Mesh& mesh) {
  if (device_type(config) == DeviceType::cpu || config.run.device_memory == 0) return;
  require_gpu_bytes(config, mesh, static_cast<int64_t>(config.run.device_memory * static_cast<double>(kGiB)),
                    fmt::format("run.device_memory allows {} GiB", config.run.device_memory));
}

}  // namespace drover
