// A key of each kind: how it is read, checked and written back. For the tables of the schema alone.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "configs/schema.h"

namespace drover {

inline constexpr int64_t kMost = int64_t{1} << 53;
inline constexpr int64_t kMostWide = int64_t{1} << 28;  // rows of a matrix, token ids: far from overflow when multiplied
inline constexpr int64_t kMostRanks = 65536;            // of an axis, and heads: products of all axes stay far from overflow

// Why this cannot be a number or a boolean, or "".
inline std::string not_plain(const Value& value, const std::string& type) {
  if (value.is_list) return fmt::format("expected {}, found a list", type);
  if (value.is_string)
    return fmt::format("expected {}, found the string \"{}\" (quoted, or tagged as one)", type, value.items.front());
  return "";
}

template <class Access> Field integer(std::string path, int64_t low, int64_t high, Access access, bool required, std::string doc) {
  const std::string type = high == kMost ? fmt::format("integer, at least {}", low) : fmt::format("integer, {} to {}", low, high);
  Field field{.path = std::move(path), .type = type, .required = required, .doc = std::move(doc)};
  if (!required) {
    Config defaults;
    field.fallback = std::to_string(access(defaults));
  }
  field.read = [=](Config& config, const Value& given) -> std::string {
    if (std::string wrong = not_plain(given, type); !wrong.empty()) return wrong;
    const std::string& text = given.items.front();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end == text.data() || end != text.data() + text.size()) return fmt::format("expected {}, found \"{}\"", type, text);
    if (error != std::errc() || value < low || value > high)
      return fmt::format("{} is out of range: integer, {} to {}", text, low, high);
    access(config) = value;
    return "";
  };
  field.write = [=](const Config& config) { return std::to_string(access(const_cast<Config&>(config))); };
  return field;
}

struct Interval {
  double low = 0, high = INFINITY;
  bool without_low = false, without_high = false;
  bool contains(double value) const {
    return (without_low ? value > low : value >= low) && (without_high ? value < high : value <= high);
  }
  std::string text() const {
    if (std::isinf(high)) return fmt::format("number, {} {}", without_low ? "above" : "at least", low);
    if (without_low) return fmt::format("number, above {}, at most {}", low, high);
    return fmt::format("number, {} to {}{}", low, without_high ? "below " : "", high);
  }
};
inline constexpr Interval kAnyShare{0, 1}, kPositiveShare{0, 1, true}, kBelowOne{0, 1, false, true}, kFromZero{0, INFINITY},
    kFromOne{1, INFINITY}, kPositive{0, INFINITY, true};

template <class Access> Field number(std::string path, const Interval& interval, Access access, bool required, std::string doc) {
  const std::string type = interval.text();
  Field field{.path = std::move(path), .type = type, .required = required, .doc = std::move(doc)};
  Config defaults;
  if (!required) field.fallback = fmt::format("{}", access(defaults));
  field.read = [=](Config& config, const Value& given) -> std::string {
    if (std::string wrong = not_plain(given, type); !wrong.empty()) return wrong;
    const std::string& text = given.items.front();
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool beyond_f64 = error == std::errc::result_out_of_range;
    if (end == text.data() || end != text.data() + text.size() || (!beyond_f64 && !std::isfinite(value)))
      return fmt::format("expected {}, found \"{}\"", type, text);
    if (beyond_f64 || !interval.contains(value)) return fmt::format("{} is out of range: {}", text, type);
    const float used = static_cast<float>(value);
    if (!std::isfinite(used) || !interval.contains(used) || (used == 0) != (value == 0))
      return fmt::format("{} is out of range: {}, but in f32, which training computes in, it is {}", text, type, used);
    access(config) = value;
    return "";
  };
  field.write = [=](const Config& config) { return fmt::format("{}", access(const_cast<Config&>(config))); };
  return field;
}

template <class Access> Field boolean(std::string path, Access access, std::string doc) {
  Field field{.path = std::move(path), .type = "true or false", .doc = std::move(doc)};
  Config defaults;
  field.fallback = access(defaults) ? "true" : "false";
  field.read = [=, type = field.type](Config& config, const Value& given) -> std::string {
    if (std::string wrong = not_plain(given, type); !wrong.empty()) return wrong;
    const std::string& text = given.items.front();
    if (text != "true" && text != "false") return fmt::format("expected {}, found \"{}\"", type, text);
    access(config) = text == "true";
    return "";
  };
  field.write = [=](const Config& config) { return access(const_cast<Config&>(config)) ? "true" : "false"; };
  return field;
}

// An enum by its names, in the order of its values.
template <class Access> Field choice(std::string path, std::vector<std::string> names, Access access, std::string doc) {
  Field field{.path = std::move(path), .type = fmt::format("{}", fmt::join(names, " | ")), .doc = std::move(doc)};
  Config defaults;
  field.fallback = names[static_cast<size_t>(access(defaults))];
  field.read = [=, type = field.type](Config& config, const Value& given) -> std::string {
    const auto found = given.is_list ? names.end() : std::find(names.begin(), names.end(), given.items.front());
    if (found == names.end())
      return fmt::format("expected one of {}, found {}", type, given.is_list ? "a list" : "\"" + given.items.front() + "\"");
    access(config) = static_cast<std::remove_reference_t<decltype(access(config))>>(found - names.begin());
    return "";
  };
  field.write = [=](const Config& config) { return names[static_cast<size_t>(access(const_cast<Config&>(config)))]; };
  return field;
}

// A YAML double-quoted scalar; only this form can hold a line break.
inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  }
  return out + "\"";
}

template <class Access> Field text(std::string path, std::string type, Access access, std::string doc) {
  Field field{.path = std::move(path), .type = std::move(type), .doc = std::move(doc)};
  Config defaults;
  field.fallback = quoted(access(defaults));
  field.read = [=, type = field.type](Config& config, const Value& given) -> std::string {
    if (given.is_list) return fmt::format("expected {}, found a list", type);
    access(config) = given.items.front();
    return "";
  };
  field.write = [=](const Config& config) { return quoted(access(const_cast<Config&>(config))); };
  return field;
}

template <class Access> Field paths(std::string path, Access access, std::string doc) {
  Field field{.path = std::move(path), .type = "a directory, or a list of them", .fallback = "[]", .doc = std::move(doc)};
  field.read = [=, type = field.type](Config& config, const Value& given) -> std::string {
    for (const std::string& item : given.items)
      if (item.empty()) return fmt::format("an empty path; expected {}", type);
    access(config) = given.items;
    return "";
  };
  field.write = [=](const Config& config) {
    std::vector<std::string> items;
    for (const std::string& item : access(const_cast<Config&>(config))) items.push_back(quoted(item));
    return fmt::format("[{}]", fmt::join(items, ", "));
  };
  return field;
}

// The keys of data that hold entries (data_fields.cpp).
Field sources_field();
Field phases_field();
Field skip_field();
Field loss_weights_field();
// "data.sources.web.weight" of data.sources; none: it has no such key, or no entry of that number.
std::optional<Field> key_of_entry(const Field& field, const Config& config, const std::string& path);

}  // namespace drover
