// Whether HTML is well-formed as XML would have it: every tag closed in order, attributes quoted, entities known.
#pragma once
#include <cctype>
#include <string>
#include <vector>

namespace drover::testing {

// The first thing that is wrong, in words; "": nothing.
inline std::string not_well_formed(const std::string& html) {
  std::vector<std::string> open;
  const auto at_text = [&](size_t at) { return " at \"" + html.substr(at, 60) + "\""; };
  size_t at = html.rfind("<!DOCTYPE html>", 0) == 0 ? 15 : 0;
  while (at < html.size()) {
    if (html[at] == '&') {
      const std::string entity = html.substr(at, html.find(';', at) - at + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;") return "unknown entity" + at_text(at);
      at += entity.size();
      continue;
    }
    if (html[at] != '<') {
      ++at;
      continue;
    }
    if (html.rfind("<![CDATA[", at) == at) {
      at = html.find("]]>", at);
      if (at == std::string::npos) return "unfinished CDATA";
      at += 3;
      continue;
    }
    const bool closing = html[at + 1] == '/';
    size_t end = at + 1 + (closing ? 1 : 0);
    const size_t begin = end;
    while (end < html.size() && (std::isalnum(static_cast<unsigned char>(html[end])) != 0)) ++end;
    const std::string name = html.substr(begin, end - begin);
    if (name.empty()) return "a < that opens no tag" + at_text(at);
    while (end < html.size() && html[end] == ' ') {
      while (html[end] == ' ') ++end;
      if (html[end] == '/' || html[end] == '>') break;
      const size_t equals = html.find_first_of("= />", end);
      if (equals == std::string::npos || html[equals] != '=' || html[equals + 1] != '"')
        return "an attribute without quotes" + at_text(at);
      const size_t quote = html.find('"', equals + 2);
      if (quote == std::string::npos || html.substr(equals, quote - equals).find('<') != std::string::npos)
        return "a < in an attribute" + at_text(at);
      end = quote + 1;
    }
    const bool empty = html[end] == '/';
    if (empty) ++end;
    if (end >= html.size() || html[end] != '>') return "an unfinished tag" + at_text(at);
    if (closing) {
      if (open.empty() || open.back() != name)
        return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back()) + at_text(at);
      open.pop_back();
    } else if (!empty) {
      open.push_back(name);
    }
    at = end + 1;
  }
  return open.empty() ? "" : open.back() + " is never closed";
}

}  // namespace drover::testing
