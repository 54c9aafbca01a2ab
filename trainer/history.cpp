#include "trainer/history.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "trainer/json_lines.h"

namespace drover {
namespace {

using Json = nlohmann::ordered_json;

std::filesystem::path history_of(const std::filesystem::path& run_directory) { return run_directory / "history.jsonl"; }

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", &utc);
  return text;
}

std::string dump(const Json& row) { return row.dump(-1, ' ', false, Json::error_handler_t::replace); }

// To the microsecond; parts that took no time are left out.
Json to_json(const Seconds& seconds) {
  Json parts = Json::object();
  for (const auto& [name, value] : seconds)
    if (value >= 1e-6) parts[name] = std::round(value * 1e6) / 1e6;
  return parts;
}

std::time_t parse_time(const std::string& text) {
  std::tm utc{};
  return strptime(text.c_str(), "%FT%TZ", &utc) == nullptr ? 0 : timegm(&utc);
}

// Absent or of another type, as in a file of another version: the fallback.
template <class Value> Value get(const nlohmann::json& row, const char* key, Value fallback) {
  try {
    return row.value(key, fallback);
  } catch (const nlohmann::json::exception&) {
    return fallback;
  }
}

RunStart read_start(const nlohmann::json& row) {
  RunStart start{.time = get<std::string>(row, "time", ""),
                 .host = get<std::string>(row, "host", ""),
                 .ranks = get<int64_t>(row, "ranks", 0),
                 .threads = get<int64_t>(row, "threads", 0),
                 .layout = get<std::string>(row, "layout", ""),
                 .build = get<std::string>(row, "build", ""),
                 .instruction_set = get<std::string>(row, "instruction_set", ""),
                 .dataset = get<std::string>(row, "dataset", ""),
                 .step = get<int64_t>(row, "step", 0),
                 .checkpoint = get<std::string>(row, "checkpoint", ""),
                 .changed = {}};
  const nlohmann::json changed = get(row, "changed", nlohmann::json::array());
  for (const nlohmann::json& change : changed)
    if (change.is_object())
      start.changed.push_back(
          {get<std::string>(change, "key", ""), get<std::string>(change, "before", ""), get<std::string>(change, "after", "")});
  return start;
}

RunEnd read_end(const nlohmann::json& row) {
  return {.time = get<std::string>(row, "time", ""),
          .reason = get<std::string>(row, "reason", ""),
          .exit_code = get<int>(row, "exit_code", 0),
          .message = get<std::string>(row, "message", ""),
          .step = get<int64_t>(row, "step", 0)};
}

// Of a row that is no start.
void add_to(Session& session, const nlohmann::json& row) {
  session.last_time = get(row, "time", session.last_time);
  session.step = get(row, "step", session.step);
  session.saves = get(row, "saves", session.saves);
  const nlohmann::json parts = get(row, "seconds", nlohmann::json::object());
  for (const auto& [part, seconds] : parts.items())
    if (seconds.is_number()) add_seconds(session.seconds, part, seconds.get<double>());
  if (row["event"] == "end") session.end = read_end(row);
}

}  // namespace

void add_seconds(Seconds& sums, const std::string& part, double seconds) {
  auto at = std::find_if(sums.begin(), sums.end(), [&](const auto& sum) { return sum.first == part; });
  if (at == sums.end()) at = sums.insert(sums.end(), {part, 0.0});
  at->second += seconds;
}

History::History(const std::filesystem::path& run_directory, bool active) : path_(history_of(run_directory)), active_(active) {}

void History::append(const std::string& line) const {
  File file = open_append(path_);
  append_line(file, path_, line);
  file.sync();
}

void History::started(const RunStart& start) {
  started_ = true;
  step_ = start.step;
  if (!active_) return;
  Json changed = Json::array();
  for (const ConfigDifference& change : start.changed)
    changed.push_back({{"key", change.key}, {"before", change.before}, {"after", change.after}});
  // A line that the start before was killed in is ended first, so that this one stands alone.
  File file = open_append(path_);
  char last = '\n';
  if (file.size() > 0) file.read_at(file.size() - 1, &last, 1);
  if (last != '\n') append_line(file, path_, "");
  append(dump({{"event", "start"},
               {"time", now()},
               {"host", start.host},
               {"ranks", start.ranks},
               {"threads", start.threads},
               {"layout", start.layout},
               {"build", start.build},
               {"instruction_set", start.instruction_set},
               {"dataset", start.dataset},
               {"step", start.step},
               {"checkpoint", start.checkpoint},
               {"changed", changed}}));
}

void History::spent(const Seconds& seconds) {
  if (active_)
    append(dump(
        {{"event", "spent"}, {"time", now()}, {"step", step_.load()}, {"saves", saves_.load()}, {"seconds", to_json(seconds)}}));
}

void History::ended(ExitCode code, const Seconds& seconds) {
  if (active_)
    append(dump({{"event", "end"},
                 {"time", now()},
                 {"reason", code == ExitCode::done ? "done" : "signal"},
                 {"exit_code", static_cast<int>(code)},
                 {"step", step_.load()},
                 {"saves", saves_.load()},
                 {"seconds", to_json(seconds)}}));
}

void History::failed(ExitCode code, const std::string& message) noexcept {
  if (!started_) return;
  try {
    append(dump({{"event", "end"},
                 {"time", now()},
                 {"reason", "error"},
                 {"exit_code", static_cast<int>(code)},
                 {"message", message},
                 {"step", step_.load()},
                 {"saves", saves_.load()}}));
  } catch (const std::exception&) {
    // A full disk may be the very error; it is said on the screen in any case.
  }
}

std::vector<Session> read_history(const std::filesystem::path& run_directory) {
  std::vector<Session> sessions;
  for_each_json(history_of(run_directory), [&](const std::string&, const nlohmann::json& row) {
    const std::string event = get<std::string>(row, "event", "");
    if (event == "start") {
      Session session{.start = read_start(row), .seconds = {}, .end = {}};
      session.step = session.start.step;
      session.last_time = session.start.time;
      sessions.push_back(std::move(session));
    } else if (!sessions.empty() && (event == "spent" || event == "end")) {
      add_to(sessions.back(), row);
    }
  });
  return sessions;
}

double seconds_between(const std::string& from, const std::string& to) { return std::difftime(parse_time(to), parse_time(from)); }

}  // namespace drover
