// What the data of a configuration would do to a run of it, without one: no MPI, no model.
#include "data/audit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/words.h"
#include "launch/commands.h"
#include "launch/progress.h"

namespace drover {
namespace {

double share(int64_t part, int64_t all) { return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all); }

std::string epochs_text(const AuditSource& source) {
  const double whole = std::floor(source.epochs);
  std::string text = fmt::format("{:.3f}: {:.0f} whole and {:.3f} of the next", source.epochs, whole, source.epochs - whole);
  if (source.phase_epochs.size() > 1) text += fmt::format("; by phase {:.3f}", fmt::join(source.phase_epochs, ", "));
  return text;
}

std::string source_text(const Config& config, const AuditLimits& limits, const AuditSource& source, bool opened) {
  std::string text = fmt::format("{}: {}, {}, {}\n", source.name, counted(source.shards, "shard"), counted(source.tokens, "token"),
                                 counted(source.documents, "document"));
  text += fmt::format("  ids         {} of model.vocab {} or more\n", source.outside, config.model.vocab);
  if (opened) text += fmt::format("  epochs      {}\n", epochs_text(source));
  const char* name = "longest";
  for (const AuditDocument& document : source.longest) {
    text +=
        fmt::format("  {:<11} {}: {} from index {} on\n", name, counted(document.tokens, "token"), document.shard, document.first);
    name = "";
  }
  const AuditRepetition& found = source.repetition;
  return text +
         fmt::format(
             "  repetition  {:.2f} % of {}-grams come again in their document, {:.2f} % in another one of the sample: {} in {} "
             "evenly spaced, of each the first {} at most\n",
             100 * share(found.within, found.grams), AuditRepetition::kGram, 100 * share(found.across, found.grams),
             counted(found.grams, "gram"), counted(found.documents, "document"), counted(limits.document_tokens, "token"));
}

// The phases' numbers stand where they begin.
std::string ruler(const std::vector<int>& phases) {
  std::string text(phases.size(), ' ');
  for (size_t i = 0; i < phases.size(); ++i) {
    if (i > 0 && phases[i] == phases[i - 1]) continue;
    const std::string number = fmt::format("{}", phases[i] + 1);
    text.replace(i, std::min(number.size(), text.size() - i), number.substr(0, text.size() - i));
  }
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

std::string run_text(const Config& config, const Audit& audit) {
  const AuditRun& run = *audit.run;
  std::string text = fmt::format("run: {}, {}, {}\n", counted(config.train.steps, "step"), counted(run.samples, "sample"),
                                 counted(run.tokens, "token"));
  for (const AuditShortStep& step : run.short_steps)
    text += fmt::format("  step {} ends a sequence length of {}: {} of {} slots are filled\n", step.step, step.sequence,
                        step.filled, config.train.global_batch);
  text += fmt::format("  empty slots {:.3f} % of all tokens of all slots\n", 100 * run.empty_share);
  text += fmt::format("mixture: share of the tokens by source, each column 1/{} of the run\n  {:<10} {}\n", run.phases.size(),
                      "phase", ruler(run.phases));
  for (size_t s = 0; s < audit.sources.size(); ++s)
    text += fmt::format("  {:<10} {}\n", audit.sources[s].name, eighths(run.shares[s]));
  return text;
}

nlohmann::json source_json(const AuditSource& source) {
  nlohmann::json longest = nlohmann::json::array();
  for (const AuditDocument& document : source.longest)
    longest.push_back({{"tokens", document.tokens}, {"shard", document.shard}, {"first", document.first}});
  const AuditRepetition& found = source.repetition;
  return {{"shards", source.shards},
          {"tokens", source.tokens},
          {"documents", source.documents},
          {"outside", source.outside},
          {"epochs", source.epochs},
          {"phase_epochs", source.phase_epochs},
          {"longest", longest},
          {"repetition",
           {{"gram", AuditRepetition::kGram},
            {"documents", found.documents},
            {"grams", found.grams},
            {"within", found.within},
            {"across", found.across}}}};
}

nlohmann::json to_json(const Config& config, const Audit& audit) {
  nlohmann::json out = {{"vocab", config.model.vocab}, {"sources", nlohmann::json::object()}, {"problems", audit.problems}};
  for (const AuditSource& source : audit.sources) out["sources"][source.name] = source_json(source);
  if (!audit.run) return out;
  nlohmann::json& run = out["run"] = {{"steps", config.train.steps},           {"samples", audit.run->samples},
                                      {"tokens", audit.run->tokens},           {"short_steps", nlohmann::json::array()},
                                      {"empty_share", audit.run->empty_share}, {"phases", audit.run->phases}};
  for (const AuditShortStep& step : audit.run->short_steps)
    run["short_steps"].push_back({{"step", step.step}, {"filled", step.filled}, {"sequence", step.sequence}});
  for (size_t s = 0; s < audit.sources.size(); ++s) run["shares"][audit.sources[s].name] = audit.run->shares[s];
  return out;
}

}  // namespace

int audit_command(const TrainRequest& request, int64_t ranks, bool json) {
  const Config config = resolve_config(request, ranks);
  const AuditLimits limits;
  Audit audit;
  {
    TokenProgress line;
    int64_t tokens = 0;
    audit = audit_data(config, limits, [&](const std::string& shard, int64_t more) { line.show(shard, tokens += more); });
  }
  if (json) {
    fmt::print("{}\n", to_json(config, audit).dump(1));
  } else {
    for (const AuditSource& source : audit.sources) fmt::print("{}", source_text(config, limits, source, audit.run.has_value()));
    if (audit.run) fmt::print("{}", run_text(config, audit));
  }
  for (const std::string& problem : audit.problems) fmt::print(stderr, "drover: error: {}\n", problem);
  return audit.problems.empty() ? 0 : static_cast<int>(ExitCode::data);
}

}  // namespace drover
