#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "data/mixture.h"
#include "kernels/base/words.h"
#include "launch/commands.h"
#include "trainer/memory_limit.h"
#include "trainer/memory_table.h"
#include "trainer/programs.h"

namespace drover {
namespace {

// A plan is made where the data need not be; `why` it cannot be looked at.
std::optional<Mixture> data_if_here(const Config& config, std::string& why) {
  try {
    return std::make_optional<Mixture>(config);
  } catch (const Error& error) {
    why = error.what();
    return std::nullopt;
  }
}

}  // namespace

int validate_command(const TrainRequest& request, int64_t ranks) {
  const Config config = resolve_config(request, ranks);
  fmt::print("{} is valid for {}\n{}\nrun directory {}\n", request.config, counted(ranks, "rank"),
             batch_arithmetic(config, Mesh(config.parallel)), config.run.dir);
  return 0;
}

int plan_command(const TrainRequest& request, int64_t ranks, const PlanOptions& options) {
  const Config whole = resolve_config(request, ranks), config = at_sequence(whole, longest_sequence(whole));
  const Mesh mesh(config.parallel);
  if (options.program >= 0) {
    if (options.program >= mesh.size())
      throw Error(ExitCode::config, fmt::format("rank {}: there are {}", options.program, mesh.size()));
    const Programs programs = make_programs(config, mesh);
    for (const Action& action : programs.train[static_cast<size_t>(mesh.coordinate(options.program, Axis::pp))])
      fmt::print("{}\n", to_string(action));
    return 0;
  }
  const WorstRank worst = worst_rank(config, mesh);
  if (options.json) {
    nlohmann::json out = {{"rank", worst.rank}, {"total", worst.memory.used()}, {"outside", bytes_outside_arenas(config, mesh)}};
    for (const std::string& category : worst.memory.categories()) out["categories"][category] = worst.memory.used_by(category);
    fmt::print("{}\n", out.dump(1));
    return 0;
  }
  const PipelineShape shape = pipeline_shape(config, mesh);
  const std::vector<Program> schedule = training_schedule(config, mesh);
  std::string why;
  const std::optional<Mixture> data = data_if_here(whole, why);
  const std::string mixture = data ? mixture_table(whole, *data) : "data    not read, so no epochs: " + why;
  const std::string packing = data ? packing_table(whole, *data) : "";
  fmt::print(
      "{}\n{}\n{}\nschedule (F forward, B backward, by micro-batch; one column is a forward's time, a backward takes "
      "two)\n{}bubble  "
      "{:.1f} %\n\n{}\n",
      batch_arithmetic(config, mesh), mixture, packing, draw(schedule, shape), 100 * bubble_fraction(schedule, shape),
      memory_table(worst.memory, bytes_outside_arenas(config, mesh),
                   fmt::format("memory of the worst rank, {}", mesh.describe(worst.rank))));
  require_allowed_memory(config, mesh);
  if (data) {
    require_epochs(whole, *data);
    (void)loss_weights_of(whole.data, data->tokenizer(), data->tokenizer_hash());  // refuses ranges that the tokenizer lacks
  }
  return 0;
}

}  // namespace drover
