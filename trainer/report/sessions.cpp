#include "trainer/report/sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "trainer/console.h"
#include "trainer/report/html.h"

namespace drover::report {
namespace {

const std::string& end_time(const Session& session) { return session.end ? session.end->time : session.last_time; }

// What a part of the time is, for people; the rest are kinds of op, said as they are.
std::string part_name(const std::string& part) {
  static const std::vector<std::pair<std::string, std::string>> kNames = {
      {"gemm", "matrix products"},
      {"cross_entropy", "cross-entropy"},
      {"communication", "communication, waiting for other ranks included"},
      {"start", "starting, loading"},
      {"data", "waiting for data"},
      {"checkpoint", "writing checkpoints"},
      {"other", "everything else"}};
  for (const auto& [key, name] : kNames)
    if (key == part) return name;
  return part;
}

std::string changes(const Session& session) {
  std::string text;
  for (const ConfigDifference& change : session.start.changed)
    text += fmt::format("<div><code>{}: <del>{}</del> → {}</code></div>", escape(change.key), escape(change.before),
                        escape(change.after));
  return text;
}

}  // namespace

Outcome outcome(const Session& session, bool running) {
  if (!session.end) return running ? Outcome{"running", "good"} : Outcome{"killed", "bad"};
  if (session.end->reason == "done") return {"done", "good"};
  if (session.end->reason == "signal") return {"stopped by a signal", "warn"};
  return {fmt::format("error, exit code {}", session.end->exit_code), "bad"};
}

std::string sessions_table(const std::vector<Session>& sessions, bool running) {
  if (sessions.empty()) return "<p>There is no history.jsonl, or nothing in it: no start was recorded.</p>\n";
  std::string body;
  for (size_t i = 0; i < sessions.size(); ++i) {
    const Session& session = sessions[i];
    const RunStart& start = session.start;
    const Outcome end = outcome(session, running && i + 1 == sessions.size());
    const std::string message =
        session.end && !session.end->message.empty() ? "<div>" + escape(session.end->message) + "</div>" : "";
    const std::string lasted = duration_text(seconds_between(start.time, end_time(session)));
    body += row(std::to_string(i + 1),
                cell(time_text(start.time), "nowrap") + cell(escape(start.host)) + cell(escape(start.layout)) +
                    cell(grouped(start.ranks), "number") + cell(grouped(start.step), "number") +
                    cell((session.end ? "" : "≥ ") + grouped(session.step), "number") + cell(lasted, "nowrap") +
                    cell(grouped(session.saves), "number") +
                    cell(fmt::format(R"(<b class="{}">{}</b>)", end.style, end.text) + message) + cell(changes(session)));
  }
  return table({{""},
                {"started (UTC)"},
                {"host of rank 0"},
                {"layout"},
                {"ranks", "number"},
                {"from step", "number"},
                {"to step", "number"},
                {"lasted"},
                {"saves", "number"},
                {"ended"},
                {"settings changed"}},
               body);
}

std::string changes_table(const std::vector<Session>& sessions) {
  std::string body;
  const auto add = [&](size_t i, const std::string& what, const std::string& before, const std::string& after) {
    const auto code = [](const std::string& text) { return cell("<code>" + escape(text) + "</code>"); };
    body += row(fmt::format("start {}", i + 1),
                cell(grouped(sessions[i].start.step), "number") + code(what) + code(before) + code(after));
  };
  for (size_t i = 1; i < sessions.size(); ++i) {
    const RunStart &before = sessions[i - 1].start, &after = sessions[i].start;
    for (const ConfigDifference& change : after.changed) add(i, change.key, change.before, change.after);
    const std::vector<std::pair<const char*, std::pair<std::string, std::string>>> surroundings = {
        {"build", {before.build, after.build}},
        {"instruction set", {before.instruction_set, after.instruction_set}},
        {"tokens of data.train (hash)", {before.dataset, after.dataset}},
        {"host of rank 0", {before.host, after.host}}};
    for (const auto& [what, values] : surroundings)
      if (values.first != values.second) add(i, what, values.first, values.second);
  }
  if (body.empty()) return "<p>No setting, build, processor or data changed between the starts.</p>\n";
  return table({{""}, {"at step", "number"}, {"changed"}, {"before"}, {"after"}}, body);
}

std::string time_table(const std::vector<Session>& sessions) {
  Seconds sums;
  double all = 0;
  for (const Session& session : sessions)
    for (const auto& [part, seconds] : session.seconds) {
      add_seconds(sums, part, seconds);
      all += seconds;
    }
  if (all <= 0) return "<p>Nothing was recorded yet: a row is written every ten seconds and with every checkpoint.</p>\n";
  std::stable_sort(sums.begin(), sums.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string body;
  for (const auto& [part, seconds] : sums)
    body += row(
        escape(part_name(part)),
        cell(seconds < 60 ? fmt::format("{:.2f} s", seconds) : duration_text(seconds), "number") +
            cell(fmt::format("{:.1f} %", 100 * seconds / all), "number") +
            cell(fmt::format(R"(<span class="bar" style="width:{:.1f}%"></span>)", 100 * seconds / sums.front().second), "fill"));
  return fmt::format(R"(<p>Of rank 0, over all starts: {} in all. What a killed start did after its last record is not in it.</p>)"
                     R"(<div class="wide card"><table class="time"><tbody>{}</tbody></table></div>)"
                     "\n",
                     duration_text(all), body);
}

}  // namespace drover::report
