// Line charts over steps, as SVG inside HTML: axes with round ticks, one or two lines, the range of shortened stretches as a band, and the
// steps at which the run was resumed. Colours are the page's (page.css); values for the pointer are in data- attributes (page.js).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "trainer/report/series.h"

namespace drover::report {

struct Line {
  std::string name;
  std::vector<Bucket> points;
  bool dots = false;  // few points, far apart
};

struct Chart {
  std::string title, unit;
  std::vector<Line> lines;       // one or two
  std::vector<int64_t> resumes;  // steps after which a start went on
  int64_t first_step = 0, last_step = 1;
  bool from_zero = false;  // else the y axis begins near the smallest value
  bool logarithmic = false;
  int width = 400, height = 220;  // pixels, at a scale of 1
};

std::string to_svg(const Chart& chart);

// Round numbers, about `wanted` of them, that span [low, high].
std::vector<double> round_ticks(double low, double high, int wanted);

}  // namespace drover::report
