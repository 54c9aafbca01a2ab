#include "trainer/equal_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "configs/load.h"
#include "kernels/base/hash.h"
#include "kernels/base/host.h"
#include "trainer/build_info.h"

namespace drover {
namespace {

// Every half of a hash with its complement: the largest complement is that of the smallest half, so one maximum says whether all are equal.
bool equal_everywhere(Communicator& world, const std::array<uint64_t, 3>& hashes) {
  std::array<int32_t, 12> mine;
  for (size_t i = 0; i < hashes.size(); ++i) {
    mine[4 * i] = static_cast<int32_t>(hashes[i] >> 32);
    mine[4 * i + 1] = static_cast<int32_t>(hashes[i] & 0xffffffff);
    mine[4 * i + 2] = ~mine[4 * i];
    mine[4 * i + 3] = ~mine[4 * i + 1];
  }
  std::array<int32_t, 12> largest = mine;
  Stream stream;
  world.all_reduce(stream, {reinterpret_cast<std::byte*>(largest.data()), DType::i32, {}, {12}}, ReduceOp::max);
  for (size_t i = 0; i < 12; i += 4)
    for (const size_t half : {i, i + 1})
      if (largest[half] != ~largest[half + 2]) return false;
  return true;
}

std::string data_text(const Mixture& train, const TokenDataset* validation) {
  return fmt::format(
      "{} tokens, hash {:016x}, order {:016x}{}", train.tokens(), train.hash(), xxh3(train.order_text()),
      validation == nullptr ? "" : fmt::format("; validation {} tokens, hash {:016x}", validation->tokens(), validation->hash()));
}

std::string differing_keys(const std::string& first, const std::string& mine) {
  constexpr size_t kShown = 5;
  const auto all = diff(load_config_text(first, "rank 0", {}).config, load_config_text(mine, "this rank", {}).config);
  std::vector<std::string> lines;
  for (const ConfigDifference& key : all)
    if (lines.size() < kShown) lines.push_back(fmt::format("{} {} -> {}", key.key, key.before, key.after));
  if (all.size() > kShown) lines.push_back(fmt::format("{} more", all.size() - kShown));
  return fmt::format("{}", fmt::join(lines, ", "));
}

std::string from_first(Communicator& world, const std::string& mine) {
  return world.gather_text(world.rank() == 0 ? mine : "").front();
}

// "ranks 2, 3 on hostb: ..." a line, for all that say the same.
std::string grouped(const std::vector<std::string>& texts) {
  constexpr size_t kShown = 8;
  std::map<std::string, std::vector<size_t>> ranks;
  for (size_t rank = 0; rank < texts.size(); ++rank)
    if (!texts[rank].empty()) ranks[texts[rank]].push_back(rank);
  std::vector<std::string> lines;
  for (const auto& [text, of] : ranks) {
    const std::vector<size_t> shown(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(std::min(of.size(), kShown)));
    if (lines.size() < kShown)
      lines.push_back(fmt::format("\n  {} {}{} on {}", of.size() == 1 ? "rank" : "ranks", fmt::join(shown, ", "),
                                  of.size() > kShown ? fmt::format(" and {} more", of.size() - kShown) : "", text));
  }
  if (ranks.size() > kShown) lines.push_back(fmt::format("\n  and {} more differences", ranks.size() - kShown));
  return fmt::format("{}", fmt::join(lines, ""));
}

}  // namespace

void require_equal_ranks(Communicator& world, const Config& config, const Mixture& train, const TokenDataset* validation) {
  const std::string yaml = to_yaml(config), data = data_text(train, validation);
  if (equal_everywhere(world, {xxh3(build_id()), xxh3(yaml), xxh3(data)})) return;
  const std::string first_host = from_first(world, host_name()), first_build = from_first(world, build_id()),
                    first_yaml = from_first(world, yaml), first_data = from_first(world, data);
  std::string mine;
  const auto add = [&](const std::string& text) { mine += (mine.empty() ? host_name() + ": " : "; ") + text; };
  if (build_id() != first_build) add(fmt::format("another program: {}, not {}", build_id(), first_build));
  if (yaml != first_yaml) add(fmt::format("another configuration: {}", differing_keys(first_yaml, yaml)));
  if (data != first_data) add(fmt::format("other data: {}, not {}", data, first_data));
  const std::string lines = grouped(world.gather_text(mine));
  throw Error(ExitCode::config,
              fmt::format("the ranks do not run the same: every host must see the same program, configuration and data "
                          "as rank 0 on {}{}",
                          first_host, lines));
}

}  // namespace drover
