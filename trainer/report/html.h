// Small pieces of text that every part of the page needs.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace drover::report {

std::string escape(std::string_view text);          // for elements and quoted attributes
std::string grouped(int64_t value);                 // 1,234,567
std::string brief(double value);                    // at most four digits: 0.006, 12.35k, 4.56M, 1.2e-05; not finite: –
std::string digits(double value, int count);        // significant ones; not finite: –
std::string bytes_text(int64_t bytes);              // 12.3 MiB
std::string time_text(const std::string& iso_utc);  // 2026-11-24 22:18:18

// Tables. What is passed in is HTML already; `style` names classes of page.css.
struct Column {
  const char* name;
  const char* style = "";
};
std::string cell(const std::string& html, const char* style = "");  // "number" for figures, "nowrap"
std::string row(const std::string& head, const std::string& cells);
std::string table(const std::vector<Column>& columns, const std::string& rows);  // scrolls sideways where it is too wide

}  // namespace drover::report
