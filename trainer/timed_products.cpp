#include "trainer/timed_products.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "kernels/base/hash.h"
#include "kernels/base/words.h"
#include "kernels/cuda/device.h"
#include "kernels/gemm.h"
#include "trainer/console.h"
#include "trainer/product_choices.h"

namespace drover {
namespace {

constexpr const char* kBits = "(the last bits of losses may differ)";

// The lowest rank that has it, for each product of any rank. Of the ranks with the same products, the lowest alone tells them: most are alike.
std::map<GemmShape, int> lowest_ranks(Communicator& world, const std::vector<GemmShape>& mine) {
  const std::string text = to_json(mine), hash = fmt::format("{:016x}", xxh3(text));
  const std::vector<std::string> hashes = world.gather_text(hash);
  const bool first = std::find(hashes.begin(), hashes.end(), hash) - hashes.begin() == world.rank();
  const std::vector<std::string> lists = world.gather_text(first ? text : "[]");
  std::map<GemmShape, int> lowest;
  for (size_t rank = 0; rank < lists.size(); ++rank)
    for (const GemmShape& shape : shapes_from_json(lists[rank])) lowest.emplace(shape, static_cast<int>(rank));
  return lowest;
}

class Chooser {
 public:
  Chooser(Communicator& world, Stream& stream, const std::vector<GemmCall>& calls) : world_(world), stream_(stream) {
    for (const GemmCall& call : calls) calls_.emplace(shape_of(call), &call);
    std::vector<GemmShape> shapes;
    for (const auto& [shape, call] : calls_) shapes.push_back(shape);
    deciders_ = lowest_ranks(world, shapes);
    const Device device = stream.device();
    chosen_.library = from_first(gemm_library(device));
    chosen_.gpu = from_first(cuda::device_name(device.index));
  }

  // Takes over what can be, and returns why not all: "" when it can.
  std::string keep(const std::string& stored) {
    if (stored.empty()) return "the checkpoint has none";
    ProductChoices before;
    try {
      before = choices_from_json(stored);
    } catch (const Error& error) {
      return error.what();
    }
    if (before.library != chosen_.library || before.gpu != chosen_.gpu)
      return fmt::format("{} on {} -> {} on {}", before.library, before.gpu, chosen_.library, chosen_.gpu);
    std::vector<GemmShape> refused;
    for (const auto& [shape, choice] : before.products) {
      if (deciders_.contains(shape)) chosen_.products.emplace(shape, choice);
      if (calls_.contains(shape) && !set_algorithm(stream_.device(), shape, choice.timed.algorithm)) refused.push_back(shape);
    }
    size_t count = 0;
    for (const std::string& text : world_.gather_text(to_json(refused)))
      for (const GemmShape& shape : shapes_from_json(text)) count += chosen_.products.erase(shape);
    if (count > 0)
      return fmt::format("{} refuses {} of the checkpoint's", chosen_.library, counted(static_cast<int64_t>(count), "algorithm"));
    return chosen_.products.size() < deciders_.size() ? "the checkpoint does not have all" : "";
  }

  // What was not kept; returns how many those are, on all ranks.
  size_t time_the_rest() {
    const size_t kept = chosen_.products.size();
    ProductChoices mine;
    for (const auto& [shape, rank] : deciders_)
      if (rank == world_.rank() && !chosen_.products.contains(shape))
        mine.products.emplace(shape, ProductChoice{fastest_algorithm(stream_, *calls_.at(shape)), rank});
    for (const std::string& text : world_.gather_text(to_json(mine))) chosen_.products.merge(choices_from_json(text).products);
    for (const auto& [shape, choice] : chosen_.products)
      if (calls_.contains(shape) && !set_algorithm(stream_.device(), shape, choice.timed.algorithm))
        throw Error(
            ExitCode::hardware,
            fmt::format("{}: {} on {} refuses the algorithm that rank {} timed with {} on {}; all ranks need the same library and "
                        "kind of GPU, or `run.timed_products: false`",
                        to_string(shape), gemm_library(stream_.device()), cuda::device_name(stream_.device().index), choice.rank,
                        chosen_.library, chosen_.gpu));
    return chosen_.products.size() - kept;
  }

  const ProductChoices& chosen() const { return chosen_; }

 private:
  std::string from_first(const std::string& mine) { return world_.gather_text(world_.rank() == 0 ? mine : "").front(); }

  Communicator& world_;
  Stream& stream_;
  std::map<GemmShape, const GemmCall*> calls_;
  std::map<GemmShape, int> deciders_;
  ProductChoices chosen_;
};

}  // namespace

ChosenProducts choose_products(Communicator& world, Engine& engine, Device device, bool timed,
                               const std::optional<std::string>& stored) {
  if (!timed) {
    ChosenProducts untimed{"",
                           {fmt::format("products the first proposals of {} (run.timed_products is false)", gemm_library(device))}};
    if (stored && !stored->empty())
      untimed.lines.push_back(fmt::format("products: the checkpoint's algorithms are not used {}", kBits));
    return untimed;
  }
  ChosenProducts result;
  engine.choose_algorithms([&](const std::vector<GemmCall>& calls) {
    const auto begin = std::chrono::steady_clock::now();
    Chooser chooser(world, engine.stream(), calls);
    const std::string why = stored ? chooser.keep(*stored) : "";
    const size_t anew = chooser.time_the_rest(), all = chooser.chosen().products.size();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    result.json = to_json(chooser.chosen());
    result.lines.push_back(fmt::format("products {} shapes of matrix products by {}: {} as in the checkpoint, {} timed in {}", all,
                                       chooser.chosen().library, all - anew, anew, duration_text(seconds)));
    if (stored && anew > 0) result.lines.push_back(fmt::format("products: {}: {} of {} were timed anew {}", why, anew, all, kBits));
  });
  return result;
}

}  // namespace drover
