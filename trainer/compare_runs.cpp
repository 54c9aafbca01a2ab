#include "trainer/compare_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "configs/load.h"
#include "trainer/history.h"
#include "trainer/json_lines.h"
#include "trainer/run_directory.h"

namespace drover {
namespace {

using nlohmann::json;

// One run's rows, in the order in which training wrote them: a step, then its validation.
class Rows {
 public:
  explicit Rows(const std::filesystem::path& run_directory) : lines_(run_directory / "metrics.jsonl") { advance(); }
  bool done() const { return done_; }
  const json& row() const { return row_; }
  int64_t step() const { return row_["step"].get<int64_t>(); }
  bool validation() const { return row_.contains("validation_loss"); }
  std::pair<int64_t, bool> place() const { return {step(), validation()}; }
  void advance() {
    while (true) {
      done_ = !lines_.next(row_);
      if (done_ || (row_.contains("step") && row_["step"].is_number_integer())) return;
      ++without_step_;
    }
  }
  int64_t damaged() const { return lines_.damaged() + without_step_; }

 private:
  JsonLines lines_;
  json row_;
  bool done_ = false;
  int64_t without_step_ = 0;
};

std::optional<double> number(const json& row, const std::string& field) {
  const auto at = row.find(field);
  if (at == row.end()) return std::nullopt;
  if (at->is_null()) return std::numeric_limits<double>::quiet_NaN();
  return at->is_boolean() ? static_cast<double>(at->get<bool>()) : at->is_number() ? at->get<double>() : 0;
}

bool timing(const std::string& field) { return field == "seconds" || field == "tokens_per_second" || field == "data_share"; }

std::vector<FieldDifference> differences(const json& a, const json& b, int64_t step) {
  std::vector<std::string> fields;
  for (const auto& item : a.items()) fields.push_back(item.key());
  for (const auto& item : b.items())
    if (!a.contains(item.key())) fields.push_back(item.key());
  std::vector<FieldDifference> found;
  for (const std::string& field : fields) {
    if (timing(field) || (a.contains(field) && b.contains(field) && a[field] == b[field])) continue;
    FieldDifference d{field, step, number(a, field), number(b, field)};
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    d.absolute = std::abs(d.b.value_or(kNone) - d.a.value_or(kNone));
    d.relative = d.absolute / std::abs(d.a.value_or(kNone));
    for (double* distance : {&d.absolute, &d.relative})
      if (std::isnan(*distance)) *distance = std::numeric_limits<double>::infinity();
    found.push_back(d);
  }
  return found;
}

void keep_largest(std::vector<FieldDifference>& largest, const FieldDifference& d) {
  const auto at =
      std::find_if(largest.begin(), largest.end(), [&](const FieldDifference& other) { return other.field == d.field; });
  if (at == largest.end())
    largest.push_back(d);
  else if (d.relative > at->relative)
    *at = d;
}

void count(Unmatched& only, const Rows& rows) {
  if (rows.validation()) {
    ++only.validations;
    return;
  }
  if (only.steps++ == 0) only.first_step = rows.step();
  only.last_step = rows.step();
}

bool of_the_run_alone(const std::string& key) { return key == "run.dir" || key == "checkpoint.resume"; }

// A setting's values over a run's starts; `last` is that of the last one.
std::string over_changes(const std::vector<Session>& sessions, const std::string& key, const std::string& last) {
  std::string text;
  for (const Session& session : sessions)
    for (const ConfigDifference& d : session.start.changed)
      if (d.key == key)
        text = fmt::format("{}, then {} from step {} on", text.empty() ? d.before : text, d.after, session.start.step + 1);
  return text.empty() ? last : text;
}

// The distinct values of a run's starts, in order.
std::string over_starts(const std::vector<Session>& sessions, const std::function<std::string(const RunStart&)>& value) {
  std::string text, last;
  for (const Session& session : sessions) {
    const std::string now = value(session.start);
    if (now == last) continue;
    text += (text.empty() ? "" : ", then ") + now;
    last = now;
  }
  return text.empty() ? "not recorded" : text;
}

}  // namespace

RunComparison compare_runs(const std::filesystem::path& path_a, const std::filesystem::path& path_b) {
  require_run(path_a);
  require_run(path_b);
  RunComparison result;
  const auto part = [&](int64_t step, std::vector<FieldDifference> fields) {
    if (result.first_step) return;
    result.first_step = step;
    result.first = std::move(fields);
  };
  Rows a(path_a), b(path_b);
  for (const auto& [rows, path] : {std::pair{&a, &path_a}, std::pair{&b, &path_b}})
    if (rows->done())
      throw Error(ExitCode::config,
                  fmt::format("{} holds no step: there is nothing to compare", (*path / "metrics.jsonl").string()));
  while (!a.done() || !b.done()) {
    if (b.done() || (!a.done() && a.place() < b.place())) {
      part(a.step(), {});
      count(result.only_a, a);
      a.advance();
    } else if (a.done() || b.place() < a.place()) {
      part(b.step(), {});
      count(result.only_b, b);
      b.advance();
    } else {
      const std::vector<FieldDifference> found = differences(a.row(), b.row(), a.step());
      for (const FieldDifference& d : found) keep_largest(result.largest, d);
      if (!found.empty()) part(a.step(), found);
      ++(a.validation() ? result.validations : result.steps);
      a.advance();
      b.advance();
    }
  }
  result.damaged_a = a.damaged();
  result.damaged_b = b.damaged();
  return result;
}

std::vector<std::string> compare_surroundings(const std::filesystem::path& path_a, const std::filesystem::path& path_b) {
  const std::vector<Session> a = read_history(path_a), b = read_history(path_b);
  // What differs now, and what is the same now, as the last change left it, but was changed on the way.
  std::vector<ConfigDifference> settings = diff(config_of_run(path_a), config_of_run(path_b));
  for (const std::vector<Session>* sessions : {&a, &b})
    for (auto session = sessions->rbegin(); session != sessions->rend(); ++session)
      for (const ConfigDifference& changed : session->start.changed)
        if (std::none_of(settings.begin(), settings.end(), [&](const ConfigDifference& d) { return d.key == changed.key; }))
          settings.push_back({changed.key, changed.after, changed.after});
  std::vector<std::string> lines;
  for (const ConfigDifference& d : settings) {
    const std::string of_a = over_changes(a, d.key, d.before), of_b = over_changes(b, d.key, d.after);
    if (of_a != of_b && !of_the_run_alone(d.key)) lines.push_back(fmt::format("{}: {} -> {}", d.key, of_a, of_b));
  }
  const std::vector<std::pair<const char*, std::function<std::string(const RunStart&)>>> facts = {
      {"layout", [](const RunStart& start) { return start.layout; }},
      {"ranks", [](const RunStart& start) { return std::to_string(start.ranks); }},
      {"threads a rank", [](const RunStart& start) { return std::to_string(start.threads); }},
      {"build", [](const RunStart& start) { return start.build; }},
      {"instruction set", [](const RunStart& start) { return start.instruction_set; }},
      {"hash of data.train", [](const RunStart& start) { return start.dataset; }}};
  for (const auto& [name, value] : facts) {
    const std::string of_a = over_starts(a, value), of_b = over_starts(b, value);
    if (of_a != of_b) lines.push_back(fmt::format("{}: {} -> {}", name, of_a, of_b));
  }
  return lines;
}

}  // namespace drover
