#include "trainer/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "trainer/report/html.h"

namespace drover::report {
namespace {

constexpr double kLeft = 58, kRight = 16, kTop = 10, kBottom = 38;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) { low = std::min(low, value), high = std::max(high, value); }
  bool empty() const { return low > high; }
};

// From data to pixels, and the ticks on the way.
class Plane {
 public:
  explicit Plane(const Chart& chart) : chart_(chart), right_(chart.width - kRight), bottom_(chart.height - kBottom) {
    Range range;
    for (const Line& line : chart.lines)
      for (const Bucket& point : line.points) range.add(point.low), range.add(point.high);
    if (range.empty()) range = {0, 1};
    logarithmic_ = chart.logarithmic && range.low > 0;
    if (chart.from_zero) range.add(0);
    if (logarithmic_) range = {std::log10(range.low), std::log10(range.high)};
    if (range.high - range.low < 1e-12 * std::max(1.0, std::abs(range.high))) {
      const double room = range.high == 0 ? 1 : 0.1 * std::abs(range.high);
      range = {chart.from_zero ? range.low : range.low - room, range.high + room};
    }
    ticks_ = logarithmic_ ? decades(range) : round_ticks(range.low, range.high, 5);
    low_ = logarithmic_ ? std::min(range.low, std::log10(ticks_.front())) : ticks_.front();
    high_ = logarithmic_ ? std::max(range.high, std::log10(ticks_.back())) : ticks_.back();
  }

  double x(double step) const {
    const double first = static_cast<double>(chart_.first_step),
                 last = static_cast<double>(std::max(chart_.last_step, chart_.first_step + 1));
    return kLeft + (right_ - kLeft) * (step - first) / (last - first);
  }
  double y(double value) const {
    const double at = logarithmic_ ? std::log10(value) : value;
    return bottom_ - (bottom_ - kTop) * (at - low_) / (high_ - low_);
  }
  double right() const { return right_; }
  double bottom() const { return bottom_; }
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  // Powers of ten, and 2 and 5 times them where there are few; at least two ticks.
  static std::vector<double> decades(const Range& range) {
    std::vector<double> ticks;
    const bool few = range.high - range.low < 2.5;
    for (double power = std::floor(range.low); power <= std::ceil(range.high); ++power)
      for (const double times : few ? std::vector<double>{1, 2, 5} : std::vector<double>{1})
        ticks.push_back(times * std::pow(10.0, power));
    while (ticks.size() > 2 && std::log10(ticks[1]) <= range.low) ticks.erase(ticks.begin());
    while (ticks.size() > 2 && std::log10(ticks[ticks.size() - 2]) >= range.high) ticks.pop_back();
    return ticks;
  }

  const Chart& chart_;
  double right_, bottom_, low_ = 0, high_ = 1;
  bool logarithmic_ = false;
  std::vector<double> ticks_;
};

double middle(const Bucket& bucket) { return 0.5 * static_cast<double>(bucket.first + bucket.last); }

std::string axes(const Chart& chart, const Plane& plane) {
  std::string svg;
  for (const double tick : plane.ticks())
    svg += fmt::format(R"(<line class="grid" x1="{0}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>)"
                       R"(<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>)",
                       kLeft, plane.right(), plane.y(tick), kLeft - 7, plane.y(tick) + 4, brief(tick));
  for (const double tick :
       round_ticks(static_cast<double>(chart.first_step), static_cast<double>(chart.last_step), chart.width / 90)) {
    if (tick < static_cast<double>(chart.first_step) || tick > static_cast<double>(chart.last_step) || tick != std::floor(tick))
      continue;
    svg += fmt::format(R"(<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>)"
                       R"(<text class="tick" x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4}</text>)",
                       plane.x(tick), plane.bottom(), plane.bottom() + 4, plane.bottom() + 17, brief(tick));
  }
  svg +=
      fmt::format(R"(<line class="axis" x1="{0}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>)", kLeft, plane.right(), plane.bottom());
  return svg +
         fmt::format(R"(<text class="tick" x="{:.1f}" y="{}" text-anchor="end">step</text>)", plane.right(), chart.height - 4);
}

std::string resume_marks(const Chart& chart, const Plane& plane) {
  std::string svg;
  for (const int64_t step : chart.resumes)
    svg += fmt::format(
        R"(<line class="resume" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2:.1f}"><title>resumed at step {3}</title></line>)",
        plane.x(static_cast<double>(step)), kTop, plane.bottom(), grouped(step));
  return svg;
}

std::string band(const Line& line, const Plane& plane) {
  std::string there, back;
  bool wide = false;
  for (const Bucket& point : line.points) {
    wide = wide || point.low != point.high;
    there += fmt::format("{:.1f},{:.1f} ", plane.x(middle(point)), plane.y(point.high));
    back.insert(0, fmt::format("{:.1f},{:.1f} ", plane.x(middle(point)), plane.y(point.low)));
  }
  return wide ? fmt::format(R"(<polygon class="band" points="{}"/>)", there + back) : "";
}

std::string drawn(const Line& line, const Plane& plane, size_t number) {
  std::string points, dots, steps, values;
  for (const Bucket& point : line.points) {
    const double x = plane.x(middle(point)), y = plane.y(point.mean);
    points += fmt::format("{:.1f},{:.1f} ", x, y);
    if (line.dots || line.points.size() == 1) dots += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3"/>)", x, y);
    steps += fmt::format("{}{}", steps.empty() ? "" : ",", point.last);
    values += fmt::format("{}{:.5g}", values.empty() ? "" : ",", point.mean);
  }
  return fmt::format(R"(<g class="line line{}" data-name="{}" data-steps="{}" data-values="{}">{}<polyline points="{}"/>{}</g>)",
                     number, escape(line.name), steps, values, band(line, plane), points, dots);
}

int64_t steps_a_point(const Line& line) {
  int64_t most = 1;
  for (const Bucket& point : line.points) most = std::max(most, point.last - point.first + 1);
  return most;
}

std::string legend(const Chart& chart) {
  std::string html;
  if (chart.lines.size() > 1)
    for (size_t i = 0; i < chart.lines.size(); ++i)
      html += fmt::format(R"(<span class="key key{}">{}</span>)", i, escape(chart.lines[i].name));
  if (const int64_t each = chart.lines.empty() ? 1 : steps_a_point(chart.lines.front()); each > 1)
    html += fmt::format(R"(<span>mean and range of {} steps</span>)", grouped(each));
  if (!chart.resumes.empty()) html += R"(<span class="key keyresume">resumed</span>)";
  return html;
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int wanted) {
  const double rough = std::max((high - low) / std::max(1, wanted), 1e-300), power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double times : {5.0, 2.0, 1.0})
    if (times * power >= rough) step = times * power;
  std::vector<double> ticks;
  for (double i = std::floor(low / step * (1 + 1e-12) + 1e-9); ticks.empty() || ticks.back() < high - 1e-9 * step; ++i)
    ticks.push_back(i * step);
  return ticks;
}

std::string to_svg(const Chart& chart) {
  const Plane plane(chart);
  std::string lines;
  for (size_t i = 0; i < chart.lines.size(); ++i) lines += drawn(chart.lines[i], plane, i);
  return fmt::format(
      R"(<figure class="chart"><figcaption><b>{}</b> <span class="unit">{}</span><span class="legend">{}</span></figcaption>)"
      R"(<svg style="min-width:{:.0f}px" viewBox="0 0 {} {}" role="img" )"
      R"(aria-label="{} over steps" data-left="{}" data-right="{:.1f}" data-first="{}" data-last="{}">)"
      R"({}{}{}<line class="cursor" y1="{}" y2="{:.1f}"/></svg></figure>)"
      "\n",
      escape(chart.title), escape(chart.unit), legend(chart), 0.6 * chart.width, chart.width, chart.height, escape(chart.title),
      kLeft, plane.right(), chart.first_step, std::max(chart.last_step, chart.first_step + 1), axes(chart, plane),
      resume_marks(chart, plane), lines, kTop, plane.bottom());
}

}  // namespace drover::report
