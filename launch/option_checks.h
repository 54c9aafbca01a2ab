// Ranges of the command line's numbers, said in its help and in its refusals.
#pragma once
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>

namespace drover {

inline CLI::Validator integer(int64_t low, int64_t high = INT64_MAX) {
  const std::string range = high == INT64_MAX ? fmt::format(">= {}", low) : fmt::format("{} to {}", low, high);
  return CLI::Validator(
      [=](const std::string& text) {
        int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool sound = error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
        return sound ? "" : fmt::format("expected an integer {}, found \"{}\"", range, text);
      },
      range);
}

// From `low` to below `high`.
inline CLI::Validator number(double low, double high = INFINITY) {
  const std::string range = std::isinf(high) ? fmt::format(">= {}", low) : fmt::format("{} to below {}", low, high);
  return CLI::Validator(
      [=](const std::string& text) {
        double value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool sound = error == std::errc() && end == text.data() + text.size() && value >= low && value < high;
        return sound ? "" : fmt::format("expected a number {}, found \"{}\"", range, text);
      },
      range);
}

}  // namespace drover
