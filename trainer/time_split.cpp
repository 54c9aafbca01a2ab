#include "trainer/time_split.h"

#include <algorithm>

namespace drover {

std::array<double, TimeSplit::kOps + 1> TimeSplit::counted() const {
  std::array<double, kOps + 1> now{};
  for (size_t kind = 0; kind < kOps; ++kind) now[kind] = stream_.totals(static_cast<OpKind>(kind)).seconds;
  now[kOps] = groups_.totals().seconds;
  return now;
}

double TimeSplit::mark() {
  const Clock::time_point now = Clock::now();
  const double passed = std::chrono::duration<double>(now - last_).count();
  last_ = now;
  before_ = counted();
  return passed;
}

void TimeSplit::step() {
  const std::array<double, kOps + 1> before = before_;
  double rest = mark();
  for (size_t i = 0; i < before.size(); ++i) {
    const double mine = before_[i] - before[i];
    counted_[i] += mine;
    rest -= mine;
  }
  parts_[static_cast<size_t>(Part::other)] += std::max(0.0, rest);
}

void TimeSplit::pass(Part part) { parts_[static_cast<size_t>(part)] += mark(); }

std::vector<std::pair<std::string, double>> TimeSplit::take() {
  std::vector<std::pair<std::string, double>> seconds;
  for (size_t kind = 0; kind < kOps; ++kind) seconds.emplace_back(name_of(static_cast<OpKind>(kind)), counted_[kind]);
  seconds.emplace_back("communication", counted_[kOps]);
  static constexpr std::array<const char*, kParts> kNames = {"start", "data", "validation", "checkpoint", "other"};
  for (size_t part = 0; part < kParts; ++part) seconds.emplace_back(kNames[part], parts_[part]);
  counted_ = {};
  parts_ = {};
  return seconds;
}

}  // namespace drover
