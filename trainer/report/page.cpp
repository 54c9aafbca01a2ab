#include "trainer/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "configs/schema.h"
#include "kernels/base/words.h"
#include "trainer/history.h"
#include "trainer/report/chart.h"
#include "trainer/report/embedded.h"
#include "trainer/report/html.h"
#include "trainer/report/layout.h"
#include "trainer/report/series.h"
#include "trainer/report/sessions.h"
#include "trainer/run_directory.h"

namespace drover {
namespace report {
namespace {

constexpr int64_t kMostPoints = 600;
constexpr size_t kMostRows = 40;

struct Run {
  std::string name;
  Config config;
  Metrics metrics;
  std::vector<Session> sessions;
  bool running = false;
};

Run read_run(const std::filesystem::path& directory) {
  return {directory.lexically_normal().string(), config_of_run(directory), read_metrics(directory), read_history(directory),
          in_use(directory)};
}

std::string card(const std::string& body) { return "<div class=\"card\">" + body + "</div>\n"; }

std::string tile(const std::string& name, const std::string& value, const std::string& more) {
  return fmt::format(R"(<div class="tile"><span>{}</span><b>{}</b><small>{}</small></div>)", name, value, more);
}

std::string header(const Run& run) {
  Outcome state{"unknown", "warn"};
  if (!run.sessions.empty()) state = outcome(run.sessions.back(), run.running);
  return fmt::format(
      R"(<header><h1>{}<span class="state {}">{}</span></h1><p>{} parameters, {} layers, hidden {}, {} heads, vocabulary {}; {}; )"
      R"({} sequences of {} tokens a step</p></header>)"
      "\n",
      escape(run.name), state.style, state.text, brief(static_cast<double>(parameter_count(run.config.model))),
      run.config.model.layers, run.config.model.hidden, run.config.model.heads, grouped(run.config.model.vocab),
      run.config.precision.compute == Precision::bf16 ? "bf16" : "f32", grouped(run.config.train.global_batch),
      grouped(run.config.train.sequence));
}

std::string tiles(const Run& run) {
  const Metrics& m = run.metrics;
  const int64_t step = m.step.empty() ? 0 : m.step.back();
  std::string html = tile("steps", grouped(step), fmt::format("of {}", grouped(run.config.train.steps)));
  html += tile("train loss", m.loss.empty() ? "–" : digits(m.loss.back(), 5), "nats a token");
  if (!m.validation_loss.empty()) {
    const auto best = std::min_element(m.validation_loss.begin(), m.validation_loss.end(),
                                       [](double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; });
    html += tile("validation loss", digits(m.validation_loss.back(), 5),
                 fmt::format("lowest {} at {}", digits(*best, 5),
                             grouped(m.validation_step[static_cast<size_t>(best - m.validation_loss.begin())])));
    if (!std::isnan(m.bits_per_byte.back()))
      html += tile("bits a byte", digits(m.bits_per_byte.back(), 5), "of the validation's text");
  }
  html += tile("tokens", brief(m.tokens.empty() ? 0 : static_cast<double>(m.tokens.back())), "trained on");
  const double rate = median(m.tokens_per_second);
  html += tile("speed", brief(rate), "tokens a second, median");
  const auto killed = std::count_if(run.sessions.begin(), run.sessions.end(),
                                    [&](const Session& s) { return !s.end && !(run.running && &s == &run.sessions.back()); });
  html += tile("starts", grouped(static_cast<int64_t>(run.sessions.size())), fmt::format("{} killed", killed));
  if (!m.skipped.empty()) html += tile("skipped steps", grouped(static_cast<int64_t>(m.skipped.size())), "not finite");
  return "<div class=\"tiles\">" + html + "</div>\n";
}

// Spikes that would flatten all the rest.
bool wants_logarithm(const std::vector<double>& values) {
  double highest = 0;
  for (const double value : values)
    if (std::isfinite(value)) highest = std::max(highest, value);
  return highest > 20 * median(values);
}

std::string charts(const Run& run) {
  const Metrics& m = run.metrics;
  const std::string damaged = m.damaged == 0 ? ""
                                             : fmt::format("<p class=\"warn\">metrics.jsonl: {} that {} no row left out.</p>\n",
                                                           counted(m.damaged, "line"), m.damaged == 1 ? "is" : "are");
  if (m.step.empty()) return damaged + "<p>metrics.jsonl holds no step: none was finished yet.</p>\n";
  Chart base;
  base.first_step = m.step.front() == 1 ? 0 : m.step.front();
  base.last_step = m.step.back();
  for (size_t i = 1; i < run.sessions.size(); ++i)
    if (run.sessions[i].start.step > 0) base.resumes.push_back(run.sessions[i].start.step);
  const auto chart = [&](const char* title, const char* unit, const std::vector<double>& values) {
    Chart made = base;
    made.title = title;
    made.unit = unit;
    made.lines.push_back({title, shortened(m.step, values, kMostPoints)});
    return made;
  };
  Chart loss = chart("Loss", "nats a token", m.loss);
  loss.width = 1140;
  loss.height = 320;
  loss.lines.front().name = "train";
  if (!m.validation_loss.empty()) {
    const bool dots = m.validation_loss.size() <= 60;
    loss.lines.push_back({"validation", shortened(m.validation_step, m.validation_loss, kMostPoints), dots});
  }
  Chart norm = chart("Gradient norm", "before clipping", m.grad_norm);
  norm.logarithmic = wants_logarithm(m.grad_norm);
  Chart lr = chart("Learning rate", "", m.lr);
  lr.from_zero = true;
  Chart speed = chart("Speed", "tokens a second", m.tokens_per_second);
  speed.from_zero = true;
  return damaged + to_svg(loss) + "<div class=\"charts\">" + to_svg(norm) + to_svg(lr) + to_svg(speed) + "</div>\n";
}

// The configuration of the last start; what some start changed is marked.
std::string settings(const Run& run) {
  std::set<std::string> changed;
  for (const Session& session : run.sessions)
    for (const ConfigDifference& change : session.start.changed) changed.insert(change.key);
  std::string html, section;
  for (const Field& field : schema()) {
    const size_t dot = field.path.find('.');
    const std::string name = field.path.substr(0, dot);
    if (name != section)
      html += fmt::format("{}<div><h3>{}</h3><table><tbody>", section.empty() ? "" : "</tbody></table></div>", escape(name));
    section = name;
    html += fmt::format("<tr{}><th>{}</th><td>{}</td></tr>", changed.contains(field.path) ? R"( class="changed")" : "",
                        escape(field.path.substr(dot + 1)), escape(field.write(run.config)));
  }
  return fmt::format(R"(<div class="card settings">{}</tbody></table></div></div>)"
                     "\n",
                     html);
}

// Evenly spaced rows of `count`, the last one always among them.
std::vector<size_t> some_rows(size_t count) {
  std::vector<size_t> rows;
  const size_t each = (count + kMostRows - 1) / kMostRows;
  for (size_t i = count; i > 0; i = i > each ? i - each : 0) rows.push_back(i - 1);
  std::reverse(rows.begin(), rows.end());
  return rows;
}

std::string numbers(const Run& run) {
  const Metrics& m = run.metrics;
  const auto figure = [](const std::string& text) { return cell(text, "number"); };
  std::string steps, validations;
  for (const size_t i : some_rows(m.step.size()))
    steps += row(grouped(m.step[i]), figure(digits(m.loss[i], 6)) + figure(digits(m.grad_norm[i], 4)) + figure(digits(m.lr[i], 4)) +
                                         figure(brief(m.tokens_per_second[i])));
  for (const size_t i : some_rows(m.validation_step.size()))
    validations +=
        row(grouped(m.validation_step[i]), figure(digits(m.validation_loss[i], 6)) + figure(digits(m.bits_per_byte[i], 6)));
  const auto folded = [](const char* title, const std::vector<Column>& columns, const std::string& rows) {
    return rows.empty() ? "" : fmt::format("<details><summary>{}</summary>{}</details>\n", title, card(table(columns, rows)));
  };
  return folded("Steps in numbers",
                {{"step"}, {"loss", "number"}, {"gradient norm", "number"}, {"learning rate", "number"}, {"tokens/s", "number"}},
                steps) +
         folded("Validations in numbers", {{"step"}, {"validation loss", "number"}, {"bits a byte", "number"}}, validations);
}

std::string section(const char* title, const std::string& body) {
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", title, body);
}

std::string body(const Run& run) {
  const Mesh mesh(run.config.parallel);
  std::string text = header(run) + tiles(run);
  text += section("Training", charts(run) + numbers(run));
  text += section("Where the time goes", time_table(run.sessions));
  text += section("Starts and stops", card(sessions_table(run.sessions, run.running)));
  text += section("Memory", card(memory_of_stages(run.config, mesh)));
  text += section("Layout", card(mesh_table(mesh) + schedule_picture(run.config, mesh)));
  return text + section("Configuration", card("<h3>changes over the starts</h3>" + changes_table(run.sessions)) +
                                             "<h3>as of the last start</h3>" + settings(run));
}

}  // namespace
}  // namespace report

std::string report_page(const std::filesystem::path& run_directory) {
  const report::Run run = report::read_run(run_directory);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n<title>{} – "
      "Drover</title>\n<style>\n{}</style>\n</head>\n"
      "<body>\n<main>\n{}<footer>Made by drover report; times are "
      "UTC.</footer>\n</main>\n<script>/*<![CDATA[*/\n{}/*]]>*/</script>\n"
      "</body>\n</html>\n",
      report::escape(run.name), report::kStyle, report::body(run), report::kScript);
}

}  // namespace drover
