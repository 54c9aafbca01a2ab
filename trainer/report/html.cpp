#include "trainer/report/html.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

namespace drover::report {

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\n': escaped += c; break;
      default: escaped += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  }
  return escaped;
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (size_t at = digits.size(); at > 3 + (value < 0 ? 1u : 0u);) digits.insert(at -= 3, ",");
  return digits;
}

std::string brief(double value) {
  if (!std::isfinite(value)) return "–";
  static constexpr std::array<std::pair<double, const char*>, 4> kUnits = {{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};
  for (const auto& [size, unit] : kUnits)
    if (std::abs(value) >= 10 * size || (std::abs(value) >= size && size > 1e3)) return fmt::format("{:.4g}{}", value / size, unit);
  return digits(value, 4);
}

std::string digits(double value, int count) { return std::isfinite(value) ? fmt::format("{:.{}g}", value, count) : "–"; }

std::string bytes_text(int64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes)
                   : fmt::format("{:.{}f} {}", value,
                                 value < 10    ? 2
                                 : value < 100 ? 1
                                               : 0,
                                 kUnits[unit]);
}

std::string time_text(const std::string& iso_utc) {
  if (iso_utc.size() != 20) return iso_utc;
  return iso_utc.substr(0, 10) + " " + iso_utc.substr(11, 8);
}

std::string cell(const std::string& html, const char* style) {
  return *style == 0 ? "<td>" + html + "</td>" : fmt::format(R"(<td class="{}">{}</td>)", style, html);
}

std::string row(const std::string& head, const std::string& cells) { return fmt::format("<tr><th>{}</th>{}</tr>", head, cells); }

std::string table(const std::vector<Column>& columns, const std::string& rows) {
  std::string head;
  for (const Column& column : columns)
    head += *column.style == 0 ? fmt::format("<th>{}</th>", column.name)
                               : fmt::format(R"(<th class="{}">{}</th>)", column.style, column.name);
  return fmt::format("<div class=\"wide\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>\n", head, rows);
}

}  // namespace drover::report
